"""A folder of timm decides the shape of an encoder, and nothing else: what it names is not opened or fetched."""

import json

import pytest
from support.exports import export_to

from openjepa.encoder.baselines import seeded
from openjepa.errors import UsageError
from openjepa.interop.load import open_source
from openjepa.interop.loaded_weights import IMAGENET_MEAN, IMAGENET_STD, Source


@pytest.fixture
def folder(tmp_path):
    network = seeded(0, image_size=(32, 32), patch_size=8, embed_dim=48, depth=1, num_heads=4)
    export_to("timm", tmp_path / "timm", Source("ours", "openjepa", IMAGENET_MEAN, IMAGENET_STD, target=network))
    return tmp_path / "timm"


def change(folder, part, **fields):
    config = json.loads((folder / "config.json").read_text())
    (config[part] if part else config).update(fields)
    (folder / "config.json").write_text(json.dumps(config))


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_, **__):
        pytest.fail("a connection was asked for")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    monkeypatch.setattr("torch.load", refuse)


@pytest.mark.parametrize(
    ("part", "fields"),
    [
        ("model_args", {"pretrained_cfg": {"url": "http://127.0.0.1:9/w.pth"}, "pretrained": True}),
        ("model_args", {"checkpoint_path": "/etc/passwd"}),
        ("model_args", {"pretrained_cfg_overlay": {"file": "/etc/passwd"}}),
        ("model_args", {"cache_dir": "/"}),
        ("model_args", {"act_layer": "quick_gelu"}),
        ("model_args", {"num_heads": 0}),
        ("model_args", {"num_heads": "4"}),
        (None, {"model_args": 5}),
        (None, {"architecture": "hf-hub:lab/model"}),
        (None, {"architecture": "local-dir:/tmp"}),
        (None, {"architecture": "vit_base_patch16_224.tag"}),
        (None, {"architecture": "resnet18"}),
        (None, {"architecture": "no_such_model"}),
        (None, {"architecture": ["vit"]}),
        (None, {"pretrained_cfg": []}),
        ("pretrained_cfg", {"input_size": [3, 32]}),
        ("pretrained_cfg", {"input_size": [3, 0, 32]}),
        ("pretrained_cfg", {"mean": [0.5]}),
        ("pretrained_cfg", {"std": [0.2, 0.0, 0.2]}),
        ("pretrained_cfg", {"license": {"a": 1}}),
    ],
)
def test_other_arguments_are_refused(folder, no_network, part, fields):
    change(folder, part, **fields)
    with pytest.raises(UsageError) as caught:
        open_source(str(folder))
    assert "\n" not in str(caught.value)


def test_a_network_that_import_does_not_take_is_not_called_damaged(folder):
    change(folder, None, architecture="convnext_tiny", model_args={"dims": [8, 8, 16, 16]})
    with pytest.raises(UsageError, match=r"is a convnext_tiny of timm with 'dims' .* embed, evaluate and others take"):
        open_source(str(folder))


def test_names_beside_the_weights_are_not_followed(folder, no_network):
    change(folder, "pretrained_cfg", url="http://127.0.0.1:9/w.pth", file="/etc/passwd", hf_hub_id="lab/model")
    assert open_source(str(folder)).target.num_heads == 4
