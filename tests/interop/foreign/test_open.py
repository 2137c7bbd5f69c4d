"""Which names stay another library's: embed and evaluate on them, and what stays ours."""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file
from support.exports import export_to
from support.foreign import TIMM, TRANSFORMERS, images, timm_folder, transformers_folder
from support.hub_fake import Hub

import openjepa
from openjepa.encoder.baselines import seeded
from openjepa.encoder.foreign import ForeignEncoder, is_own
from openjepa.errors import UsageError
from openjepa.interop.classifier import load_classifier
from openjepa.interop.foreign.open import open_foreign
from openjepa.interop.foreign.transformers import TYPES
from openjepa.interop.load import load_encoder
from openjepa.interop.loaded_weights import IMAGENET_MEAN, IMAGENET_STD, Source

CHEAP = {"device": "cpu", "precision": "float32", "workers": 0}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder of each architecture, by its name."""
    place = tmp_path_factory.mktemp("models")
    for name in TIMM:
        timm_folder(place / name, name)
    for kind in TRANSFORMERS:
        transformers_folder(place / kind, kind)
    return {name: str(place / name) for name in [*TIMM, *TRANSFORMERS]}


@pytest.mark.parametrize("name", [*TIMM, *TRANSFORMERS])
def test_embed(folders, tmp_path, photos, name):
    openjepa.embed(folders[name], photos, out=tmp_path / "v.parquet", **CHEAP)
    vectors = torch.tensor(pq.read_table(tmp_path / "v.parquet")["vector"].to_pylist())
    encoder = load_encoder(folders[name])
    images = [Image.open(path) for path in sorted(photos.rglob("*.jpg"))]
    assert torch.allclose(vectors, encoder.embed(images), atol=1e-5)


def test_evaluate(folders, photos):
    records = openjepa.evaluate(list(folders.values()), photos, tasks="knn", **CHEAP)
    measured = {record["model"] for record in records}
    assert measured >= {*folders.values(), "pixels", "untrained"}
    hashes = {record["protocol"]["model_hash"] for record in records if record["model"] in folders.values()}
    assert len(hashes) == len(folders)


def test_tasks_that_need_patch_tokens(folders, photos):
    found = openjepa.evaluate([folders["vit_small_patch16_dinov3"]], "scenes:40", tasks="depth", **CHEAP)
    assert folders["vit_small_patch16_dinov3"] in {record["model"] for record in found}
    with pytest.raises(UsageError, match=r"attentive needs patch tokens, and .*resnet18 has only features of whole"):
        openjepa.evaluate([folders["vit"], folders["resnet18"]], photos, tasks="knn,attentive", **CHEAP)
    with pytest.raises(UsageError, match=r"finetune needs a vision transformer of .*, and .*resnet18 is none"):
        openjepa.evaluate([folders["resnet18"]], photos, tasks="finetune", **CHEAP)


@pytest.mark.parametrize(
    ("name", "pooling"), [("convnext", "auto"), ("dinov2", "class"), ("swin_tiny_patch4_window7_224", "auto")]
)
def test_a_head_is_kept_and_opened_without_its_model(tmp_path, photos, folders, name, pooling):
    shutil.copytree(folders[name], tmp_path / "model")
    head = tmp_path / "head"
    openjepa.evaluate([tmp_path / "model"], photos, tasks="linear", pooling=pooling, save_head=head, **CHEAP)
    encoder = load_encoder(tmp_path / "model", pooling=pooling)
    shutil.rmtree(tmp_path / "model")
    pixels, kept = images(encoder.image_size), load_classifier(head)
    weights = load_file(head / "classifier.safetensors")
    logits = encoder.features(pixels) @ weights["classifier.weight"].T + weights["classifier.bias"]
    assert torch.allclose(kept.features(pixels), logits.softmax(1), atol=1e-6) and kept.classes == ["cat", "dog"]
    assert (kept.frame, kept.encoder.mean) == (encoder.frame, encoder.mean)
    openjepa.predict(head, photos, out=tmp_path / "answers.csv", device="cpu", workers=0)
    assert len((tmp_path / "answers.csv").read_text().splitlines()) == 25
    assert torch.equal(load_encoder(head).features(pixels), encoder.features(pixels))
    to = {"swin_tiny_patch4_window7_224": "timm"}.get(name, "hf")
    out = openjepa.export(head, to=to, out=tmp_path / "out")
    assert json.loads((out / "comparison.json").read_text())["outputs"]["max"] < 1e-5
    with pytest.raises(UsageError, match=f"holds a network of .*: give --to {to}|cannot be trained further"):
        openjepa.export(head, to="safetensors", out=tmp_path / "other")
    change_facts(head, classes=["cat"])
    with pytest.raises(UsageError, match=r"classifier.safetensors is damaged: its head does not fit"):
        load_classifier(head)
    change_facts(head, frame={"max_stretch": 0.0, "zoom": 2.0, "kernel": 3})
    with pytest.raises(UsageError, match=r"frame.zoom is 2"):
        load_classifier(head)


def change_facts(folder, **fields):
    """Change fields of openjepa.json."""
    path = folder / "openjepa.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_pooling_of_the_commands(folders, tmp_path, photos):
    dinov2 = folders["dinov2"]
    openjepa.embed(dinov2, photos, out=tmp_path / "mean.csv", pooling="mean", **CHEAP)
    openjepa.embed(dinov2, photos, out=tmp_path / "auto.csv", **CHEAP)
    assert (tmp_path / "mean.csv").read_text() != (tmp_path / "auto.csv").read_text()
    records = openjepa.evaluate([dinov2], photos, tasks="knn", pooling="mean", **CHEAP)
    assert {record["model"] for record in records} >= {dinov2}
    with pytest.raises(UsageError, match="has no class token"):
        openjepa.evaluate([folders["siglip_vision_model"]], photos, pooling="class", **CHEAP)


@pytest.fixture
def plain(tmp_path):
    network = seeded(0, image_size=(32, 32), patch_size=8, embed_dim=48, depth=1, num_heads=4)
    for kind in ("timm", "hf"):
        export_to(kind, tmp_path / kind, Source("ours", "openjepa", IMAGENET_MEAN, IMAGENET_STD, target=network))
    return tmp_path


def test_plain_vision_transformers_become_ours(plain):
    for kind in ("timm", "hf"):
        assert open_foreign(str(plain / kind)) is None
        encoder = load_encoder(plain / kind)
        assert is_own(encoder) and encoder.grid_size == (4, 4)
        with pytest.raises(UsageError, match="has no class token"):
            load_encoder(plain / kind, pooling="class")


def test_names_of_timm_and_of_the_hub(folders, tmp_path, monkeypatch):
    folder = Path(folders["vit_small_patch16_dinov3"])
    server = Hub({path.name: path.read_bytes() for path in folder.iterdir()})
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    monkeypatch.setenv("OPENJEPA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)  # the Hub is on the loopback
    config = timm.get_pretrained_cfg("vit_small_patch16_dinov3.lvd1689m")
    config.hf_hub_id = "lab/model"
    monkeypatch.setattr(timm, "get_pretrained_cfg", lambda name: config)
    pixels = images((32, 32))
    expected = load_encoder(folder).features(pixels)
    for name in ("lab/model", "vit_small_patch16_dinov3.lvd1689m", "timm:vit_small_patch16_dinov3.lvd1689m"):
        encoder = load_encoder(name)
        assert isinstance(encoder, ForeignEncoder) and torch.equal(encoder.features(pixels), expected)
        assert encoder.name == name and encoder.licence == "dinov3-license"
    server.shutdown()
    server.server_close()


def test_the_page_lists_what_can_be_opened():
    page = (Path(__file__).parents[3] / "docs/interop.md").read_text()
    assert all(f"`{kind.removesuffix('_vision_model')}`" in page for kind in TYPES)
    assert all(f"`{name}`" in page for name in TIMM)


def test_names_that_nothing_has():
    with pytest.raises(UsageError, match=r"timm .* knows no no_such_model"):
        load_encoder("timm:no_such_model")
    with pytest.raises(UsageError, match="does not exist"):
        load_encoder("no_such_model")
