"""Both directions against the real packages: theirs to ours, ours to theirs, and there and back."""

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from support.exports import export_to

import openjepa
from openjepa.encoder.baselines import seeded
from openjepa.errors import UsageError
from openjepa.interop.artifact import load_artifact
from openjepa.interop.formats.onnx import gather_weights, run_onnx
from openjepa.interop.load import load_encoder, open_source
from openjepa.interop.loaded_weights import Source, adapted
from openjepa.models.predictor import Predictor
from openjepa.models.vit import resample_positions

# (rows, columns) px, patch, width, depth, heads, hidden width over width; the last as in ViT-g.
SIZES = [((32, 32), 8, 48, 2, 4, 4.0), ((16, 48), 4, 64, 1, 2, 2.0), ((28, 28), 14, 88, 3, 4, 48 / 11)]
MEAN, STD = [0.45, 0.5, 0.4], [0.2, 0.25, 0.3]


def ours(size, position_code="sincos"):
    image_size, patch, dim, depth, heads, ratio = size
    shape = {"embed_dim": dim, "depth": depth, "num_heads": heads, "mlp_ratio": ratio, "position_code": position_code}
    encoders = {
        name: seeded(i, image_size=image_size, patch_size=patch, **shape)
        for i, name in enumerate(("target", "context"))
    }
    predictor = Predictor(encoders["target"].grid_size, dim, dim=16, depth=1, num_heads=heads)
    return Source("ours", "openjepa", MEAN, STD, **encoders, predictor=predictor)


def their_hf(size, folder):
    from transformers import IJepaConfig, IJepaModel

    (rows, columns), patch, dim, depth, heads, ratio = size
    shape = {"hidden_size": dim, "num_hidden_layers": depth, "num_attention_heads": heads, "patch_size": patch}
    image_size = rows if rows == columns else [rows, columns]
    config = IJepaConfig(**shape, intermediate_size=round(dim * ratio), image_size=image_size)
    config.layer_norm_eps = 1e-6 if dim == 48 else config.layer_norm_eps  # its default is 1e-12
    torch.manual_seed(0)
    model = IJepaModel(config).eval()
    model.save_pretrained(folder)
    return model


def their_timm(size, **more):
    import timm

    (rows, columns), patch, dim, depth, heads, ratio = size
    shape = {"embed_dim": dim, "depth": depth, "num_heads": heads, "patch_size": patch, "img_size": (rows, columns)}
    torch.manual_seed(0)
    plain = {"class_token": False, "global_pool": "avg", "fc_norm": False, "num_classes": 0, "mlp_ratio": ratio + 1e-6}
    return timm.create_model("vit_base_patch16_224", **shape | plain | more).eval()


def pixels(size, count=2, channels=3):
    return torch.randn(count, channels, *size[0], generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("size", SIZES)
def test_transformers_to_ours_and_back(tmp_path, size):
    theirs, x = their_hf(size, tmp_path / "theirs"), pixels(size)
    openjepa.import_(tmp_path / "theirs", tmp_path / "here")
    source = load_artifact(tmp_path / "here")
    (tmp_path / "back").mkdir()
    with torch.no_grad():
        torch.testing.assert_close(source.target(x), theirs(x).last_hidden_state, atol=1e-4, rtol=0)
        back = export_to("hf", tmp_path / "back", source)
        torch.testing.assert_close(back(x), theirs(x).last_hidden_state, atol=1e-6, rtol=0)
    first, last = (load_file(tmp_path / name / "model.safetensors") for name in ("theirs", "back"))
    assert first.keys() == last.keys() and all(torch.equal(first[name], last[name]) for name in first)


@pytest.mark.parametrize("size", SIZES)
def test_timm_to_ours_and_back(tmp_path, size):
    theirs, x = their_timm(size), pixels(size)
    save_file(theirs.state_dict(), tmp_path / "theirs.safetensors")
    (rows, columns), heads = size[0], size[4]
    options = {"num_heads": heads, "image_size": f"{rows}x{columns}"}
    openjepa.import_(tmp_path / "theirs.safetensors", tmp_path / "here", **options)
    source = load_artifact(tmp_path / "here")
    (tmp_path / "back").mkdir()
    with torch.no_grad():
        torch.testing.assert_close(source.target(x), theirs.forward_features(x), atol=1e-4, rtol=0)
        back = export_to("timm", tmp_path / "back", source)
        torch.testing.assert_close(back(x), theirs.forward_features(x), atol=1e-4, rtol=0)
    first, last = theirs.state_dict(), load_file(tmp_path / "back/model.safetensors")
    assert first.keys() == last.keys() and all(torch.equal(first[name], last[name]) for name in first)
    again = open_source(str(tmp_path / "back"))
    assert again.target.num_heads == heads and again.mean == source.mean and again.target.image_size == size[0]


@pytest.mark.parametrize("to", ["hf", "timm", "safetensors", "official"])
@pytest.mark.parametrize("which", ["target", "context"])
def test_ours_to_theirs(tmp_path, to, which):
    source, x = ours(SIZES[0]), pixels(SIZES[0])
    with torch.no_grad():
        theirs = export_to(to, tmp_path, source, which, predictor=True)(x)
        torch.testing.assert_close(theirs, source.encoder(which)(x), atol=1e-4, rtol=0)
    stored = tmp_path / ("checkpoint.pth.tar" if to == "official" else "predictor.safetensors")
    assert stored.is_file()


def test_a_class_token_is_dropped_and_positions_are_interpolated(tmp_path, capsys):
    theirs = their_timm(SIZES[0], class_token=True, global_pool="token", num_classes=5)
    save_file(theirs.state_dict(), tmp_path / "theirs.safetensors")
    openjepa.import_(tmp_path / "theirs.safetensors", tmp_path / "here", num_heads=4, image_size=64)
    network = load_artifact(tmp_path / "here").target
    assert network.grid_size == (8, 8)
    wanted = resample_positions(theirs.pos_embed[0, 1:].detach(), (4, 4), (8, 8))
    torch.testing.assert_close(network.pos_embed, wanted)
    assert "class token, classifier" in capsys.readouterr().out
    without = their_timm(SIZES[0])
    without.load_state_dict(
        {k: v for k, v in theirs.state_dict().items() if "head" not in k and k != "cls_token"}
        | {"pos_embed": theirs.pos_embed[:, 1:]}
    )
    x = pixels(SIZES[0])
    with torch.no_grad():
        same = open_source(str(tmp_path / "theirs.safetensors"), num_heads=4).target(x)
        torch.testing.assert_close(same, without.forward_features(x), atol=1e-4, rtol=0)


def test_a_vit_with_other_parts_is_refused(tmp_path):
    save_file(their_timm(SIZES[0], init_values=0.1).state_dict(), tmp_path / "theirs.safetensors")
    with pytest.raises(UsageError, match=r"extra: blocks\.0\.ls1\.gamma"):
        open_source(str(tmp_path / "theirs.safetensors"), num_heads=4)
    their_hf(SIZES[0], tmp_path / "theirs")
    config = tmp_path / "theirs/config.json"
    config.write_text(config.read_text().replace('"gelu"', '"relu"'))
    with pytest.raises(UsageError, match=r"no I-JEPA folder of transformers .hidden_act is relu"):
        open_source(str(tmp_path / "theirs"))


def test_a_hub_folder_with_other_statistics_is_named(tmp_path, capsys):
    from transformers import ViTImageProcessor

    folder = tmp_path / "ijepa_vith14_1k"
    their_hf(SIZES[0], folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    openjepa.import_(folder, tmp_path / "here")
    said = capsys.readouterr().out
    assert "own preprocessor has mean 0.5" in said and "holds the context encoder alone" in said
    source = load_artifact(tmp_path / "here")
    assert source.mean == [0.485, 0.456, 0.406] and source.licence == "cc-by-nc-4.0"
    assert open_source(str(folder), statistics="source").mean == [0.5, 0.5, 0.5]
    folder.rename(tmp_path / "renamed")
    assert open_source(str(tmp_path / "renamed")).mean == [0.5, 0.5, 0.5]
    assert open_source(str(tmp_path / "renamed"), statistics="imagenet").mean == [0.485, 0.456, 0.406]


@pytest.mark.parametrize("kind", ["sharded", "pickled"])
def test_a_folder_split_over_files_or_in_a_pickle_is_read(tmp_path, kind):
    theirs = their_hf(SIZES[0], tmp_path / "theirs")
    weights = tmp_path / "theirs/model.safetensors"
    if kind == "sharded":
        weights.unlink()
        theirs.save_pretrained(tmp_path / "theirs", max_shard_size="50KB")
        assert len(list((tmp_path / "theirs").glob("*.safetensors"))) > 2
    else:
        torch.save(load_file(weights), tmp_path / "theirs/pytorch_model.bin")
        weights.unlink()
    x = pixels(SIZES[0])
    with torch.no_grad():
        ours = open_source(str(tmp_path / "theirs")).target(x)
        torch.testing.assert_close(ours, theirs(x).last_hidden_state, atol=1e-4, rtol=0)


def test_the_pipeline_of_transformers_works_on_an_export(tmp_path):
    from transformers import pipeline

    source = ours(SIZES[0])
    export_to("hf", tmp_path, source)
    photo = Image.effect_noise((60, 48), 60).convert("RGB").resize((90, 72), Image.Resampling.BICUBIC)
    theirs = torch.tensor(pipeline("image-feature-extraction", model=str(tmp_path))(photo))[0]
    tokens = load_encoder(tmp_path).patch_tokens(photo).flatten(1, 2)[0]
    # Theirs resizes to whole pixels before it crops and rounds in between, so the pixels differ by a level or two.
    assert (theirs - tokens).abs().mean() < 0.05 * tokens.std()


def test_the_published_shape_at_other_sizes(tmp_path):
    """A 224/14 encoder at 448 and 98x196 px: the whole way, from its file to embeddings of photos."""
    source = ours(((224, 224), 14, 48, 1, 4, 2.0))
    export_to("official", tmp_path, source, predictor=True)
    photo = Image.effect_noise((300, 200), 60).convert("RGB")
    for given, grid in ((448, (32, 32)), ("98x196", (7, 14))):
        folder = tmp_path / f"at{given}"
        openjepa.import_(tmp_path / "checkpoint.pth.tar", folder, num_heads=4, image_size=given)
        encoder = load_encoder(folder)
        images = encoder.preprocess(photo)
        assert encoder.network.grid_size == grid and images.shape[2:] == (grid[0] * 14, grid[1] * 14)
        mean, std = (torch.tensor(v).view(3, 1, 1) * 255 for v in (encoder.mean, encoder.std))
        with torch.no_grad():
            wanted = source.target((images - mean) / std).mean(1)
        torch.testing.assert_close(encoder.embed(photo), wanted, atol=1e-4, rtol=0)
    openjepa.import_(tmp_path / "checkpoint.pth.tar", tmp_path / "grey", num_heads=4, channels=1)
    grey = photo.convert("L").convert("RGB")
    colour = load_encoder(tmp_path / "checkpoint.pth.tar", num_heads=4)
    torch.testing.assert_close(load_encoder(tmp_path / "grey").embed(grey), colour.embed(grey), atol=1e-4, rtol=0)


def test_resolution_and_channels_are_kept_by_an_import(tmp_path):
    folder, x = tmp_path / "first", pixels(SIZES[0])
    folder.mkdir()
    (tmp_path / "hf").mkdir()
    source = ours(SIZES[0])
    export_to("hf", folder, source, predictor=True)
    for size, given in (((64, 64), 64), ((16, 40), "16x40")):
        openjepa.import_(folder, tmp_path / f"at{given}", image_size=given)
        larger = load_artifact(tmp_path / f"at{given}")
        y = torch.randn(1, 3, *size)
        with torch.no_grad():
            torch.testing.assert_close(larger.target(y), source.target(y))
            torch.testing.assert_close(export_to("hf", tmp_path / "hf", larger)(y), source.target(y), atol=1e-4, rtol=0)
        assert larger.predictor.grid_size == larger.target.grid_size
    grey = adapted(source, None, 1)
    levels = torch.rand(2, 1, 32, 32)
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    with torch.no_grad():
        torch.testing.assert_close(
            grey.target((levels - grey.mean[0]) / grey.std[0]),
            source.target((levels - mean) / std),
            atol=1e-5,
            rtol=1e-5,
        )
        six = adapted(source, None, 6)
        torch.testing.assert_close(six.target(x.repeat(1, 2, 1, 1)), source.target(x), atol=1e-5, rtol=1e-5)
    with pytest.raises(UsageError, match="3 channels can be made to read 1, or 3 and more, not 2"):
        adapted(source, None, 2)
    with pytest.raises(UsageError, match="patch size 8 does not divide image size 30x30"):
        adapted(source, (30, 30), None)


def test_weights_too_large_for_a_graph_lie_in_one_file(tmp_path):
    import onnx

    source, path = ours(SIZES[0]), tmp_path / "encoder.onnx"
    export_to("onnx", tmp_path, source)
    (tmp_path / "encoder.json").unlink()
    # As the exporter leaves a graph of over 2 GiB.
    loose = {"all_tensors_to_one_file": False, "size_threshold": 0, "convert_attribute": True}
    onnx.save_model(onnx.load(path), path, save_as_external_data=True, **loose)
    assert len(list(tmp_path.iterdir())) > 10
    gather_weights(path)
    assert {file.name for file in tmp_path.iterdir()} == {"encoder.onnx", "encoder.onnx.data"}
    with torch.no_grad():
        torch.testing.assert_close(
            run_onnx(path)(pixels(SIZES[0]))[1], source.target(pixels(SIZES[0])), atol=1e-3, rtol=0
        )


@pytest.mark.parametrize("size", [(32, 32), (24, 48)])
@pytest.mark.parametrize(("half", "limit"), [(False, 1e-3), (True, 2e-2)])
def test_onnxruntime_agrees(tmp_path, size, half, limit):
    source = adapted(ours(SIZES[0]), size, None)
    export_to("onnx", tmp_path, source, half=half)
    for count in (1, 7):
        x = torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(count))
        with torch.no_grad():
            wanted = source.target(x)
        embedding, tokens = run_onnx(tmp_path / "encoder.onnx")(x)
        torch.testing.assert_close(tokens, wanted, atol=limit, rtol=0)
        torch.testing.assert_close(embedding, wanted.mean(1), atol=limit, rtol=0)
