"""Models of timm through timm's own code: equal outputs, its preprocessing, and nothing else taken from a folder."""

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from support.foreign import CNNS, TIMM, change_config, images, timm_folder

from openjepa.data.crops import standardise
from openjepa.encoder.feature_cache import model_hash
from openjepa.encoder.foreign import ForeignEncoder
from openjepa.errors import UsageError
from openjepa.interop.load import load_encoder


@pytest.mark.parametrize("name", TIMM)
def test_outputs_equal_those_of_timm(tmp_path, name):
    model = timm_folder(tmp_path, name)
    encoder = load_encoder(tmp_path)
    pixels = images(encoder.image_size)
    with torch.no_grad():
        features = model.forward_features(standardise(pixels, encoder.mean, encoder.std))
        pooled = model.forward_head(features, pre_logits=True)
    assert isinstance(encoder, ForeignEncoder) and encoder.has_tokens == (name not in CNNS)
    assert torch.allclose(encoder.features(pixels), pooled, atol=1e-5)
    if encoder.has_tokens:
        rows, columns = encoder.grid_size
        sequence = features.flatten(1, 2) if features.ndim == 4 else features
        assert torch.allclose(encoder.tokens(pixels), sequence[:, -rows * columns :], atol=1e-5)
        assert encoder.tokens(pixels).shape == (3, rows * columns, encoder.network.embed_dim)
        mean = load_encoder(tmp_path, pooling="mean").features(pixels)
        assert torch.allclose(mean, sequence[:, -rows * columns :].mean(1), atol=1e-5)


@pytest.mark.parametrize(("crop_mode", "interpolation"), [("center", "bilinear"), ("squash", "bicubic")])
def test_images_are_preprocessed_as_timm_does(tmp_path, crop_mode, interpolation):
    timm_folder(tmp_path, "deit3_small_patch16_224", img_size=224)
    change_config(tmp_path, "pretrained_cfg", crop_mode=crop_mode, interpolation=interpolation, crop_pct=0.875)
    change_config(tmp_path, "pretrained_cfg", mean=[0.5, 0.4, 0.3], std=[0.2, 0.3, 0.4])
    encoder = load_encoder(tmp_path)
    drawn = np.random.default_rng(0).normal(128, 60, (40, 60, 3)).clip(0, 255).astype(np.uint8)
    image = Image.fromarray(drawn).resize((600, 400), Image.Resampling.BICUBIC)
    how = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4), "crop_pct": 0.875}
    transform = timm.data.create_transform((3, 224, 224), interpolation=interpolation, crop_mode=crop_mode, **how)
    ours = encoder.standardised(encoder.preprocess(image))[0]
    assert (ours - transform(image)).abs().mean() < 0.02


def test_the_class_token_and_its_lack(tmp_path):
    model = timm_folder(tmp_path / "deit3", "deit3_small_patch16_224", global_pool="avg")
    timm_folder(tmp_path / "siglip", "vit_base_patch16_siglip_224")
    timm_folder(tmp_path / "resnet", "resnet18")
    encoder = load_encoder(tmp_path / "deit3", pooling="class")
    pixels = images(encoder.image_size)
    with torch.no_grad():
        expected = model.forward_features(standardise(pixels, encoder.mean, encoder.std))[:, 0]
    assert torch.allclose(encoder.features(pixels), expected, atol=1e-5)
    assert model_hash(encoder) != model_hash(load_encoder(tmp_path / "deit3"))
    with pytest.raises(UsageError, match=r"--pooling class is not possible: .* has no class token: .* auto, mean"):
        load_encoder(tmp_path / "siglip", pooling="class")
    with pytest.raises(UsageError, match="has no patch tokens: possible are auto"):
        load_encoder(tmp_path / "resnet", pooling="mean")
    with pytest.raises(UsageError, match="pooling"):
        load_encoder(tmp_path / "deit3", pooling="max")
    with pytest.raises(UsageError, match="has no patch tokens"):
        load_encoder(tmp_path / "resnet").patch_tokens(images((224, 224), 1))


def test_another_image_size(tmp_path):
    model = timm_folder(tmp_path / "eva", "vit_small_patch16_dinov3")
    encoder = load_encoder(tmp_path / "eva", image_size=(48, 64))
    model.set_input_size(img_size=(48, 64))
    pixels = images((48, 64))
    with torch.no_grad():
        expected = model.forward_features(standardise(pixels, encoder.mean, encoder.std))[:, 5:]
    assert encoder.grid_size == (3, 4) and torch.allclose(encoder.tokens(pixels), expected, atol=1e-5)
    assert encoder.preprocess(Image.new("RGB", (100, 90))).shape[2:] == (48, 64)
    with pytest.raises(UsageError, match="cannot be used for images of 30x30 px"):
        load_encoder(tmp_path / "eva", image_size=(30, 30))
    with pytest.raises(UsageError, match="reads 3 channels, not 1"):
        load_encoder(tmp_path / "eva", channels=1)


@pytest.mark.parametrize(
    ("part", "fields", "reason"),
    [
        (None, {"architecture": "no_such_model"}, "no_such_model, which timm .* lacks"),
        (None, {"architecture": "hf-hub:lab/model"}, "architecture"),
        ("model_args", {"checkpoint_path": "/etc/passwd"}, "model_args"),
        (
            "model_args",
            {"checkpoint_path": "passwd"},
            "'checkpoint_path' in model_args of config.json, which is not taken",
        ),
        ("model_args", {"pretrained_cfg": {"url": "http://127.0.0.1:9/w.pth"}}, "model_args"),
        ("model_args", {"depth": 100_000_000}, "model_args.depth"),
        ("model_args", {"depth": 10_000}, "more than 512 blocks"),
        ("model_args", {"embed_dim": 65_536}, "misshapen"),
        ("model_args", {"depth": 3}, r"missing: blocks\.2\."),
        ("model_args", {"num_heads": 5}, "cannot be built by timm"),
        ("pretrained_cfg", {"mean": [0.5]}, "mean and std of 1 channels"),
        ("pretrained_cfg", {"std": [0.2, 0.0, 0.2]}, "std"),
    ],
)
def test_a_folder_that_is_not_what_it_says_is_refused(tmp_path, monkeypatch, part, fields, reason):
    timm_folder(tmp_path, "deit3_small_patch16_224")
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("a connection was asked for"))
    change_config(tmp_path, part, **fields)
    with pytest.raises(UsageError, match=reason) as caught:
        load_encoder(tmp_path)
    assert "\n" not in str(caught.value)


def test_an_untrained_network_of_the_same_shape(tmp_path):
    timm_folder(tmp_path, "vit_small_patch16_dinov3")
    encoder = load_encoder(tmp_path)
    assert isinstance(encoder, ForeignEncoder)
    state = torch.get_rng_state()
    one, again, other = (model_hash(encoder.untrained(seed)) for seed in (0, 0, 1))
    assert one == again != other and torch.equal(state, torch.get_rng_state())
    assert one != model_hash(encoder)
