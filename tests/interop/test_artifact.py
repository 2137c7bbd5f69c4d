"""The artifact against the real transformers package, and against damage."""

import json
import os

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import openjepa
from openjepa import load_encoder
from openjepa.data.decoding.pixel_format import PixelFormat
from openjepa.encoder.baselines import seeded
from openjepa.errors import UsageError
from openjepa.interop.artifact import load_artifact, save_artifact
from openjepa.interop.open_model import open_model
from openjepa.methods.ijepa import IJEPA
from openjepa.models.predictor import Predictor

MEAN, STD = [0.45, 0.5, 0.4], [0.2, 0.25, 0.3]


def write(folder, image_size=(32, 32), patch_size=8, max_stretch=0.0):
    encoder = seeded(0, image_size=image_size, patch_size=patch_size, embed_dim=48, depth=2, num_heads=4)
    torch.manual_seed(0)
    model = IJEPA(encoder, Predictor(encoder.grid_size, 48, dim=16, depth=1, num_heads=2))
    for parameter in model.target_encoder.parameters():
        parameter.add_(0.02 * torch.randn_like(parameter))
    save_artifact(folder, model, MEAN, STD, {"step": 7}, max_stretch=max_stretch)
    return model


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    smooth = rng.integers(0, 256, (3, 6, 6, 3), dtype=np.uint8)
    return [Image.fromarray(x).resize((60, 48), Image.Resampling.BICUBIC) for x in smooth]


@pytest.mark.parametrize("image_size", [(32, 32), (16, 48)])
def test_transformers_gives_equal_tokens(tmp_path, image_size):
    from transformers import AutoModel

    write(tmp_path, image_size)
    theirs, report = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    missing = {name for name in report["missing_keys"] if not name.startswith("pooler.")}
    assert not missing and not report["unexpected_keys"] and not report["mismatched_keys"]
    ours = load_encoder(tmp_path)
    pixels = torch.randint(0, 256, (2, 3, *image_size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    standardised = (pixels / 255 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    with torch.no_grad():
        tokens = theirs.eval()(standardised).last_hidden_state
    torch.testing.assert_close(ours.tokens(pixels), tokens, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("image_size", "max_stretch"), [((32, 32), 0.0), ((32, 32), 0.1), ((24, 32), 0.1)])
def test_transformers_preprocesses_as_we_do(tmp_path, images, image_size, max_stretch):
    from transformers import AutoImageProcessor

    write(tmp_path, image_size, max_stretch=max_stretch)
    theirs = AutoImageProcessor.from_pretrained(tmp_path)(images, return_tensors="pt")["pixel_values"]
    ours = load_encoder(tmp_path).preprocess(images)
    standardised = (ours / 255 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    # Theirs resizes to whole pixels before it crops and rounds in between: a level or two of 255 on smooth images.
    assert (standardised - theirs).abs().mean() < 1.5 / 255 / min(STD)


def test_timm_preprocesses_rectangles_as_we_do(tmp_path, images):
    import timm

    write(tmp_path / "ours", (24, 32), max_stretch=0.1)
    openjepa.export(tmp_path / "ours", to="timm", out=tmp_path / "theirs")
    assert "whole where the proportions are within 10% of the input" in (tmp_path / "theirs" / "README.md").read_text()
    config = timm.create_model(f"local-dir:{tmp_path / 'theirs'}", pretrained=True).pretrained_cfg
    transform = timm.data.create_transform(**timm.data.resolve_data_config(config))
    theirs = torch.stack([transform(image) for image in images])
    ours = load_encoder(tmp_path / "ours").preprocess(images)
    standardised = (ours / 255 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    assert (standardised - theirs).abs().mean() < 1.5 / 255 / min(STD)


def test_an_artifact_keeps_the_rule_it_was_written_with(tmp_path, images):
    """One that states none is from a time when every image was cropped to the model's proportions."""
    for name, max_stretch in (("whole", 0.1), ("cropped", 0.0)):
        write(tmp_path / name, (24, 32), max_stretch=max_stretch)
    about = json.loads((tmp_path / "whole" / "openjepa.json").read_text())
    write(tmp_path / "old", (24, 32), max_stretch=0.1)
    (tmp_path / "old" / "openjepa.json").write_text(json.dumps({k: v for k, v in about.items() if k != "max_stretch"}))
    whole, cropped, old = (load_encoder(tmp_path / name).preprocess(images) for name in ("whole", "cropped", "old"))
    assert torch.equal(old, cropped) and not torch.equal(whole, cropped)


def test_the_target_encoder_is_what_loads(tmp_path, images):
    model = write(tmp_path)
    encoder = load_encoder(tmp_path)
    pixels = encoder.preprocess(images)
    assert encoder.patch_tokens(images).shape == (3, 4, 4, 48)
    torch.testing.assert_close(encoder.embed(images), encoder.tokens(pixels).mean(1))
    for ours, loaded in zip(model.target_encoder.parameters(), encoder.network.parameters(), strict=True):
        assert torch.equal(ours, loaded)
    context = load_file(tmp_path / "context_encoder.safetensors")
    assert torch.equal(context["blocks.1.mlp.fc1.weight"], model.context_encoder.blocks[1].mlp.fc1.weight)


def test_photos_are_turned_upright_and_transparency_is_white(tmp_path, images):
    write(tmp_path)
    encoder = load_encoder(tmp_path)
    sideways, exif = images[0].transpose(Image.Transpose.ROTATE_90), Image.Exif()
    exif[0x0112] = 6
    sideways.save(tmp_path / "phone.png", exif=exif)
    with Image.open(tmp_path / "phone.png") as phone:
        torch.testing.assert_close(encoder.embed(phone), encoder.embed(images[0]))
    clear, white = Image.new("RGBA", (40, 40), (9, 9, 9, 0)), Image.new("RGB", (40, 40), "white")
    torch.testing.assert_close(encoder.embed(clear), encoder.embed(white))


def test_embed_takes_what_people_have(tmp_path, images):
    write(tmp_path)
    encoder = load_encoder(tmp_path)
    one = encoder.embed(images[0])
    array = np.asarray(images[0])
    torch.testing.assert_close(encoder.embed(array), one)
    torch.testing.assert_close(encoder.embed([array]), one)
    torch.testing.assert_close(encoder.embed(torch.from_numpy(array.copy()).permute(2, 0, 1)[None]), one)
    torch.testing.assert_close(encoder.embed(images)[:1], one)
    torch.testing.assert_close(encoder.embed(image for image in images), encoder.embed(images))
    wrong_shapes = (np.zeros((4, 4)), [np.zeros((4, 4, 3), np.float32)], torch.zeros(4, 4), torch.zeros(1, 1, 1, 4, 4))
    for wrong in ([], iter([]), None, 5, "photo.jpg", {"a": 1}, [None], ["photo.jpg"], *wrong_shapes):
        with pytest.raises(UsageError):
            encoder.embed(wrong)


@pytest.mark.parametrize("harm", ["missing", "cut", "renamed", "misshapen", "json"])
def test_a_damaged_artifact_is_refused(tmp_path, harm):
    write(tmp_path)
    weights = tmp_path / "model.safetensors"
    tensors = load_file(weights)
    if harm == "missing":
        weights.unlink()
    elif harm == "cut":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif harm == "json":
        (tmp_path / "openjepa.json").write_text(json.dumps({"mean": MEAN}))
    else:
        value = tensors.pop("layernorm.weight")
        save_file(tensors | ({"norm": value} if harm == "renamed" else {"layernorm.weight": value[:-1]}), weights)
    with pytest.raises(UsageError, match="damaged"):
        load_encoder(tmp_path)


def change(folder, *path, value):
    """Give a field of openjepa.json another value."""
    about = fields = json.loads((folder / "openjepa.json").read_text())
    for name in path[:-1]:
        fields = fields[name]
    fields[path[-1]] = value
    (folder / "openjepa.json").write_text(json.dumps(about))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("encoder", "depth"), 10**9),
        (("encoder", "depth"), 0),
        (("encoder", "depth"), 2.5),
        (("encoder", "embed_dim"), 10**12),
        (("encoder", "embed_dim"), "48"),
        (("encoder", "num_heads"), 5),
        (("encoder", "num_heads"), -4),
        (("encoder", "mlp_ratio"), float("inf")),
        (("encoder", "mlp_ratio"), 1e-300),
        (("encoder", "patch_size"), 0),
        (("encoder", "image_size"), [32]),
        (("encoder", "image_size"), [2**15, 2**15]),
        (("encoder",), {"image_size": [512, 512], "patch_size": 1, "embed_dim": 4}),
        (("encoder", "norm_eps"), 0),
        (("encoder", "weight_init"), "../x"),
        (("encoder",), []),
        (("predictor", "dim"), 10**12),
        (("predictor", "depth"), 10**6),
        (("predictor", "grid_size"), [2, 8]),
        (("predictor", "embed_dim"), 16),
        (("predictor", "grid_size"), [2**15, 2**15]),
        (("predictor", "out_dim"), 10**12),
        (("which",), "teacher"),
        (("mean",), [0.5, float("nan"), 0.5]),
        (("mean",), [0.5]),
        (("std",), [0.2, 0, 0.2]),
        (("std",), [0.2, -0.2, 0.2]),
        (("pixel_format",), {"channels": 1}),
        (("pixel_format",), {"channels": 3, "values": "float"}),
        (("settings",), [1]),
        (("source",), {"name": 3}),
    ],
)
def test_a_field_out_of_bounds_is_named(tmp_path, path, value):
    write(tmp_path)
    change(tmp_path, *path, value=value)
    with pytest.raises(UsageError, match=r"openjepa\.json is damaged: .*: resume its run or train again") as caught:
        load_artifact(tmp_path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


@pytest.mark.parametrize("content", ["", "5", "[]", "[" * 100_000, '{"a":' * 10_000, "null", '{"mean": 1e999}'])
def test_what_is_no_json_object_is_refused(tmp_path, content):
    write(tmp_path)
    (tmp_path / "openjepa.json").write_text(content)
    with pytest.raises(UsageError, match=r"openjepa\.json is damaged: "):
        load_artifact(tmp_path)


@pytest.mark.parametrize("file", ["model", "context_encoder", "predictor"])
@pytest.mark.parametrize("harm", ["nan", "infinite", "integers", "complex", "float8", "empty", "too many blocks"])
def test_tensors_that_are_no_finite_numbers_are_refused(tmp_path, file, harm):
    write(tmp_path)
    path = tmp_path / f"{file}.safetensors"
    tensors = load_file(path)
    name = sorted(name for name, value in tensors.items() if value.ndim == 2)[0]
    if harm == "nan":
        tensors[name][0, 0] = float("nan")
    elif harm == "infinite":
        tensors[name][-1, -1] = float("-inf")
    elif harm == "too many blocks":
        tensors["blocks.3000000.norm1.weight"] = torch.ones(4)
        tensors["encoder.layer.3000000.layernorm_before.weight"] = torch.ones(4)
    else:
        kinds = {"integers": torch.int32, "complex": torch.complex64, "float8": torch.float8_e4m3fn}
        tensors[name] = tensors[name].to(kinds[harm]) if harm in kinds else torch.zeros(0, 4)
    save_file(tensors, path)
    with pytest.raises(UsageError, match=rf"{file}\.safetensors is damaged: (not|extra|misshapen|missing)"):
        load_artifact(tmp_path)


def test_half_precision_is_read(tmp_path):
    model = write(tmp_path)
    path = tmp_path / "model.safetensors"
    save_file({name: value.half() for name, value in load_file(path).items()}, path)
    ours, read = model.target_encoder.norm.weight, load_artifact(tmp_path).target.norm.weight
    torch.testing.assert_close(read, ours, atol=1e-3, rtol=0)
    assert read.dtype == torch.float32


@pytest.mark.parametrize("file", ["openjepa.json", "model.safetensors"])
def test_a_pipe_in_place_of_a_file_is_refused(tmp_path, file):
    write(tmp_path)
    (tmp_path / file).unlink()
    os.mkfifo(tmp_path / file)
    with pytest.raises(UsageError, match=r"not a regular file|holds no openjepa"):
        load_artifact(tmp_path)


def test_an_artifact_of_an_older_version_is_read(tmp_path):
    write(tmp_path)
    about = json.loads((tmp_path / "openjepa.json").read_text())
    for name in ("weight_init", "native_size", "position_code", "norm_eps"):
        del about["encoder"][name]
    for name in ("pixel_format", "which"):
        del about[name]
    for name in ("weight_init", "native_size", "joint", "out_dim"):
        del about["predictor"][name]
    (tmp_path / "openjepa.json").write_text(json.dumps(about))
    source = load_artifact(tmp_path)
    assert source.predictor and source.target and source.context and source.pixel_format == PixelFormat()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "float8"}, "precision float8 is not known: known are auto, bf16, float16, float32"),
        ({"precision": torch.int8}, "precision torch.int8 is not known"),
        ({"precision": None}, "precision None is not known"),
        ({"device": "abacus"}, "device abacus is not available here: use one of auto"),
        ({"device": torch.device("meta")}, "device meta is not available here"),
        ({"image_size": "32"}, "image_size is 32"),
        ({"image_size": (0, 8)}, "image_size.0 is 0"),
        ({"image_size": (2**15, 2**15)}, "larger than supported"),
        ({"channels": 10**9}, "channels is 1000000000"),
        ({"num_heads": "4"}, "num_heads is 4"),
        ({"num_heads": 0}, "num_heads is 0"),
    ],
)
def test_options_are_checked_when_an_encoder_is_loaded(tmp_path, options, message):
    write(tmp_path)
    with pytest.raises(UsageError, match=message):
        load_encoder(tmp_path, **options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="checks a machine without a GPU")
def test_a_gpu_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UsageError, match="device cuda is not available here: use one of auto, cpu"):
        load_encoder(tmp_path, device="cuda")


def test_precision_by_name(tmp_path, images):
    write(tmp_path)
    exact, half = (load_encoder(tmp_path, precision=name) for name in ("float32", "bf16"))
    assert (exact.precision, half.precision) == (torch.float32, torch.bfloat16)
    torch.testing.assert_close(half.embed(images), exact.embed(images), atol=0.1, rtol=0)
    assert load_encoder(tmp_path, "auto", "auto").precision in (torch.float32, torch.bfloat16)


def test_a_path_that_is_no_artifact_is_named(tmp_path):
    with pytest.raises(UsageError, match="does not exist"):
        load_encoder(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="neither a run nor an artifact"):
        load_encoder(tmp_path)


def test_an_untrained_encoder_is_that_of_the_commands(tmp_path, images):
    """Of the shape, the preprocessing and the image size of a run or artifact, or of a size that a name says."""
    write(tmp_path / "ours")
    for name in (f"untrained:{tmp_path / 'ours'}", "untrained:vit_nano_patch8_32"):
        encoder = load_encoder(name)
        theirs = open_model(name, torch.device("cpu"), torch.float32)
        assert encoder.name == name == theirs.name
        torch.testing.assert_close(encoder.embed(images), theirs.embed(images), rtol=0, atol=0)
    untrained, trained = load_encoder(f"untrained:{tmp_path / 'ours'}"), load_encoder(tmp_path / "ours")
    assert untrained.preprocess(images).equal(trained.preprocess(images))
    assert not np.allclose(untrained.embed(images), trained.embed(images), atol=1e-3)
    larger = load_encoder(f"untrained:{tmp_path / 'ours'}", image_size=(48, 32), channels=1)
    assert larger.grid_size == (6, 4) and larger.network.in_chans == 1
    assert load_encoder("untrained:vit_nano_patch8", image_size=(48, 32)).grid_size == (6, 4)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("untrained:runs/nowhere", {}, "runs/nowhere does not exist"),
        ("untrained:vit_unknown", {}, "untrained:vit_unknown is not known: known are vit_"),
        ("untrained:vit_nano_patch8_32", {"channels": 1}, "reads 3 channels"),
        ("untrained:vit_nano_patch8_32", {"image_size": (36, 32)}, "do not divide 36x32 px"),
        ("untrained:vit_nano_patch8_32", {"image_size": "32"}, "image_size"),
        ("untrained:vit_nano_patch8_32", {"pooling": "class"}, "pooling"),
        ("untrained:vit_nano_patch8_32", {"model": torch.nn.Identity()}, "no first weights to draw"),
    ],
)
def test_an_untrained_encoder_that_cannot_be_is_refused(name, options, message):
    with pytest.raises(UsageError, match=message):
        load_encoder(name, **options)
