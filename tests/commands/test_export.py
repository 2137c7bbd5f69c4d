"""export as a person uses it: a folder that others open, its comparison, its card, and what is refused."""

import json
import shutil

import pytest
from support.photos import draw_photos

import openjepa
from openjepa.errors import UsageError
from openjepa.interop.load import open_source

SMALL = {"image_size": 16, "batch_size": 8, "predictor_depth": 1, "workers": 0, "precision": "float32"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    photos = draw_photos(folder / "photos")
    openjepa.pretrain(photos, out=folder / "run", steps=3, **SMALL)
    openjepa.evaluate(str(folder / "run"), str(photos), tasks="knn", workers=0)
    return folder / "run"


@pytest.mark.parametrize("to", ["hf", "timm", "safetensors", "onnx", "official", "web"])
def test_every_format_is_compared_on_the_images_named(run, tmp_path, capsys, to):
    photos = run.parent / "photos"
    openjepa.export(run, to=to, out=tmp_path / "out", with_predictor=to not in ("onnx", "web"), images=str(photos))
    stored = json.loads((tmp_path / "out/comparison.json").read_text())
    assert stored["images"] == 8 and stored["images_of"].endswith("photos") and stored["format"] == to
    for what in ("patch_tokens", "embedding"):
        assert 0 <= stored[what]["mean"] <= stored[what]["max"] < 1e-4 < stored[what]["typical_size"]
    assert f"max {stored['embedding']['max']:.1e}" in capsys.readouterr().out
    card = (tmp_path / "out/README.md").read_text()
    for word in (
        "24 images in 2 classes",
        "--predictor-depth | 1",
        "## Masks",
        "as context",
        "rank |",
        "knn |",
        "## Licence",
    ):
        assert word in card, word


@pytest.mark.parametrize("stored", ["photos", "http://127.0.0.1:9/x.zip", "hf:lab/images", "/proc/self/environ"])
def test_images_that_an_artifact_names_are_not_opened(run, tmp_path, monkeypatch, stored):
    folder = shutil.copytree(run / "encoder", tmp_path / "artifact")
    about = json.loads((folder / "openjepa.json").read_text())
    (folder / "openjepa.json").write_text(json.dumps(about | {"data": stored}))
    monkeypatch.setattr("openjepa.runs.exporting.encoder.open_dataset", lambda name: pytest.fail(f"{name} was opened"))
    openjepa.export(folder, to="safetensors", out=tmp_path / "out")
    assert json.loads((tmp_path / "out/comparison.json").read_text())["images_of"] == "scenes:8"


def test_the_card_of_a_half_export_and_of_another_size(run, tmp_path):
    folder = openjepa.export(run, to="onnx", out=tmp_path / "out", half=True, image_size="32x48", images="scenes:9")
    stored = json.loads((folder / "comparison.json").read_text())
    assert stored["images_of"] == "scenes:9" and stored["patch_tokens"]["max"] < 5e-2
    assert "32x48 px, 8x12 patches of 4 px" in (folder / "README.md").read_text()


def test_licences_cannot_be_changed(shared, tmp_path):
    openjepa.import_(shared / "parity/official_tiny.pth.tar", tmp_path / "here", num_heads=4)
    with pytest.raises(UsageError, match=r"under cc-by-nc-4.0, which an export cannot change"):
        openjepa.export(tmp_path / "here", to="hf", licence="apache-2.0")
    folder = openjepa.export(tmp_path / "here", to="hf")
    assert "license: cc-by-nc-4.0" in (folder / "README.md").read_text()
    assert open_source(str(folder)).licence == "cc-by-nc-4.0"


def test_overwrite_replaces_what_import_and_export_wrote_and_nothing_else(run, shared, tmp_path):
    official = str(shared / "parity/official_tiny.pth.tar")
    art = openjepa.import_(official, tmp_path / "art", num_heads=4)
    with pytest.raises(UsageError, match="earlier output: give DST another name, or --overwrite to replace"):
        openjepa.import_(official, art, num_heads=4, licence="cc-by-nc-4.0")
    openjepa.import_(official, art, num_heads=4, licence="cc-by-nc-4.0", overwrite=True, which="context")
    assert (art / "target_encoder.safetensors").exists()
    with pytest.raises(UsageError, match="art is read by this command"):
        openjepa.import_(art, art, overwrite=True)
    out = openjepa.export(run, to="timm", out=tmp_path / "out")
    with pytest.raises(UsageError, match="or --overwrite to replace"):
        openjepa.export(run, to="safetensors", out=out)
    openjepa.export(run, to="safetensors", out=out, overwrite=True)
    assert (out / "encoder.safetensors").exists() and not (out / "model.safetensors").exists()
    (out / "notes.txt").write_text("mine")
    for folder in (out, run, run / "encoder"):
        before = sorted(folder.rglob("*"))
        with pytest.raises(UsageError, match=r"overwrite replaces only what import, export and|holds another run"):
            openjepa.export(run, to="timm", out=folder, overwrite=True)
        assert sorted(folder.rglob("*")) == before


def test_what_cannot_be_exported(run, shared, tmp_path):
    out = tmp_path / "out"
    for words, said in (
        ({"to": "onyx"}, "did you mean onnx"),
        ({"to": "hub"}, "hub:OWNER/NAME"),
        ({"to": "timm", "half": True}, "--half goes with --to onnx"),
        ({"to": "onnx", "with_predictor": True}, "ONNX holds the encoder alone"),
        ({"to": "web", "with_predictor": True}, "web holds the encoder alone"),
        ({"to": "onnx", "gallery": str(run.parent / "photos")}, "--gallery goes with --to web, not with --to onnx"),
        ({"to": "hub:a/b", "runtime": "npm"}, "--runtime goes with --to web"),
        ({"to": "web", "runtime": str(tmp_path)}, r"holds no ort\.wasm\.bundle\.min\.mjs: give the folder of"),
        ({"to": "web", "gallery": str(tmp_path)}, "no images"),
        ({"to": "official", "image_size": 32}, "positions that the published layout cannot hold"),
        ({"to": "hf", "images": str(tmp_path / "nothing")}, "does not exist"),
        ({"to": "hf", "which": "teacher"}, "known are target, context"),
    ):
        with pytest.raises(UsageError, match=said):
            openjepa.export(run, out=out, **words)
    with pytest.raises(UsageError, match="no folder to put an export into: give --out"):
        openjepa.export(shared / "parity/official_tiny.pth.tar", to="hf")
    assert not list(tmp_path.iterdir())
