"""Models of transformers through its own code: equal outputs, its preprocessing, and no code from a folder."""

import json
import warnings

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file
from support.foreign import CNNS, TOWER, TRANSFORMERS, change_config, images, scattered, transformers_folder

from openjepa.data.crops import standardise
from openjepa.encoder.foreign import ForeignEncoder
from openjepa.errors import UsageError
from openjepa.interop.load import load_encoder

DENSE_POOLER = ("vit", "deit")


def outputs(model, pixels, encoder, **more):
    with torch.no_grad():
        return model(pixel_values=standardise(pixels, encoder.mean, encoder.std), **more)


@pytest.mark.parametrize("kind", TRANSFORMERS)
def test_outputs_equal_those_of_transformers(tmp_path, kind):
    model = transformers_folder(tmp_path, kind)
    encoder = load_encoder(tmp_path)
    pixels = images(encoder.image_size)
    found = outputs(model, pixels, encoder)
    pooled = None if kind in DENSE_POOLER else found.get("pooler_output")
    expected = found.last_hidden_state[:, 0] if pooled is None else pooled.flatten(1)
    assert isinstance(encoder, ForeignEncoder) and encoder.has_tokens == (kind not in CNNS)
    assert torch.allclose(encoder.features(pixels), expected, atol=1e-5)
    if encoder.has_tokens:
        rows, columns = encoder.grid_size
        assert torch.allclose(encoder.tokens(pixels), found.last_hidden_state[:, -rows * columns :], atol=1e-5)


def test_masked_autoencoders_see_the_whole_image(tmp_path):
    config = transformers.ViTMAEConfig(**TOWER, mask_ratio=0.0)
    model = scattered(transformers.ViTMAEModel(config))
    model.save_pretrained(tmp_path)
    change_config(tmp_path, mask_ratio=0.75)
    encoder = load_encoder(tmp_path)
    pixels = images((32, 32))
    kept = outputs(model, pixels, encoder, noise=torch.arange(16.0).expand(3, -1)).last_hidden_state
    assert torch.allclose(encoder.tokens(pixels), kept[:, 1:], atol=1e-5)


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_of_two_towers_that_of_images_is_taken(tmp_path, kind):
    text = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    text |= {"vocab_size": 50, "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1}
    config = transformers.CONFIG_MAPPING[kind](vision_config=TOWER, text_config=text)
    model = scattered(getattr(transformers, {"clip": "CLIPModel", "siglip": "SiglipModel"}[kind])(config))
    model.save_pretrained(tmp_path)
    encoder = load_encoder(tmp_path)
    pixels = images((32, 32))
    found = outputs(model.vision_model, pixels, encoder)
    assert torch.allclose(encoder.features(pixels), found.pooler_output, atol=1e-5)
    assert torch.allclose(encoder.tokens(pixels), found.last_hidden_state[:, -16:], atol=1e-5)


PROCESSORS = {
    "ViTImageProcessor": {"size": {"height": 32, "width": 32}, "resample": 2},
    "BitImageProcessor": {"size": {"shortest_edge": 40}, "crop_size": {"height": 32, "width": 32}, "resample": 3},
    "CLIPImageProcessor": {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}},
    "ConvNextImageProcessor": {"size": {"shortest_edge": 32}, "crop_pct": 0.875, "resample": 3},
}


@pytest.mark.parametrize("name", PROCESSORS)
def test_images_are_preprocessed_as_transformers_does(tmp_path, name):
    transformers_folder(tmp_path, "dinov2")
    statistics = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4]}
    processor = getattr(transformers, name)(**PROCESSORS[name], **statistics)
    processor.save_pretrained(tmp_path)
    encoder = load_encoder(tmp_path)
    drawn = np.random.default_rng(0).normal(128, 60, (4, 6, 3)).clip(0, 255).astype(np.uint8)
    image = Image.fromarray(drawn).resize((600, 400), Image.Resampling.BICUBIC)
    theirs = processor(image, return_tensors="pt")["pixel_values"][0]
    ours = encoder.standardised(encoder.preprocess(image))[0]
    assert ours.shape == theirs.shape and (ours - theirs).abs().mean() < 0.05


def test_values_are_scaled_as_the_processor_says(tmp_path):
    transformers_folder(tmp_path, "dinov2")
    facts = {"size": 32, "rescale_factor": 1 / 127.5, "image_mean": [1.0] * 3, "image_std": [1.0] * 3}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(facts))
    encoder = load_encoder(tmp_path)
    values = encoder.standardised(torch.full((1, 3, 32, 32), 255, dtype=torch.uint8))
    assert torch.allclose(values, torch.ones_like(values))


def test_the_licence_of_the_card_comes_along(tmp_path):
    transformers_folder(tmp_path, "vit")
    (tmp_path / "README.md").write_text("---\nlicense: cc-by-4.0\n---\n")
    assert load_encoder(tmp_path).licence == "cc-by-4.0"


def test_another_image_size_interpolates_positions(tmp_path):
    model = transformers_folder(tmp_path, "vit")
    encoder = load_encoder(tmp_path, image_size=(64, 48))
    pixels = images((64, 48))
    found = outputs(model, pixels, encoder, interpolate_pos_encoding=True)
    assert encoder.grid_size == (8, 6)
    assert torch.allclose(encoder.tokens(pixels), found.last_hidden_state[:, 1:], atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"model_type": "bert"}, "model_type bert, which cannot be opened: known are ijepa, aimv2"),
        ({"model_type": None}, "model_type None"),
        ({"num_hidden_layers": 100_000}, "more than 512 blocks"),
        ({"hidden_size": 131_072}, "config.json asks for"),
        ({"hidden_size": 10**9}, "hidden_size"),
        ({"num_hidden_layers": 3}, r"missing: encoder\.layer|missing: layers"),
        ({"hidden_act": "no_such"}, "does not fit its config.json"),
        ({"hidden_act": {"a": 1}, "patch_size": 16}, "does not fit its config.json"),
        ({"intermediate_size": 0}, "does not fit its config.json"),  # of which torch would warn
    ],
)
def test_a_folder_that_is_not_what_it_says_is_refused(tmp_path, fields, reason):
    transformers_folder(tmp_path, "vit")
    change_config(tmp_path, **fields)
    with warnings.catch_warnings(action="error"), pytest.raises(UsageError, match=reason) as caught:
        load_encoder(tmp_path)
    assert "\n" not in str(caught.value)


def test_code_of_a_folder_is_not_run(tmp_path, monkeypatch):
    transformers_folder(tmp_path, "vit")
    (tmp_path / "evil.py").write_text("raise SystemExit('code of the folder was run')")
    names = {"AutoModel": "evil.Model", "AutoConfig": "evil.Config"}
    change_config(tmp_path, auto_map=names, quantization_config={"quant_method": "evil"}, _attn_implementation="a/b")
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("a connection was asked for"))
    assert load_encoder(tmp_path).grid_size == (4, 4)


def test_weights_that_are_not_numbers_are_refused(tmp_path):
    transformers_folder(tmp_path, "vit")
    state = load_file(tmp_path / "model.safetensors")
    state["embeddings.cls_token"][:] = float("nan")
    save_file(state, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(UsageError, match="not finite: embeddings"):
        load_encoder(tmp_path)
