"""Satellite and microscope: images of other channels, depths and proportions go through every command."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import tifffile
from PIL import Image
from support.photos import draw_photos

import openjepa
from openjepa.data.decoding.pixel_format import PixelFormat
from openjepa.data.open import open_dataset
from openjepa.data.statistics import channel_statistics
from openjepa.data.summary import inspect_dataset
from openjepa.errors import UsageError
from openjepa.reports import run_pictures

SMALL = {
    "image_size": "16x32",
    "batch_size": 8,
    "predictor_depth": 1,
    "workers": 0,
    "precision": "float32",
    "steps": 2,
    "any_orientation": True,
}


def draw_bands(folder):
    """24 TIFFs of twelve bands in two classes, which differ in their spectrum; some bands stored as planes."""
    rng = np.random.default_rng(0)
    for number in range(24):
        spectrum = 1000 + 300 * np.arange(12) * (1 if number % 2 else -1)
        bands = (spectrum + rng.normal(0, 200, (20, 40, 12))).astype(np.float32)
        home = folder / "ab"[number % 2]
        home.mkdir(parents=True, exist_ok=True)
        planes = {"planarconfig": "separate" if number % 3 else "contig", "photometric": "minisblack"}
        tifffile.imwrite(home / f"{number:02}.tif", np.moveaxis(bands, 2, 0) if number % 3 else bands, **planes)
    return folder


def draw_grey(folder):
    """24 PNGs of 16-bit grey in two classes, dark as of a microscope, which differ in texture."""
    rng = np.random.default_rng(1)
    for number in range(24):
        fine = rng.normal(600, 60, (20, 40) if number % 2 else (5, 10))
        values = np.kron(fine, np.ones((20 // len(fine),) * 2))
        home = folder / "ab"[number % 2]
        home.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values.clip(0, 65535).astype(np.uint16)).save(home / f"{number:02}.png")
    return folder


@pytest.fixture(scope="module", params=["bands", "grey"])
def trained(request, tmp_path_factory):
    home = tmp_path_factory.mktemp(request.param)
    images = {"bands": draw_bands, "grey": draw_grey}[request.param](home / "images")
    run = openjepa.pretrain(images, out=home / "run", **SMALL)
    return (
        images,
        run,
        {"channels": 12, "values": "raw", "pages": "first"}
        if request.param == "bands"
        else {
            "channels": 1,
            "values": "unit",
            "pages": "first",
        },
    )


def vectors(file):
    table = pq.read_table(file)
    return dict(zip(table["path"].to_pylist(), np.array(table["vector"].to_pylist()), strict=True))


def test_statistics_and_reading_are_stored_with_the_model(trained):
    images, run, pixel_format = trained
    about = json.loads((run / "encoder/openjepa.json").read_text())
    mean, std = channel_statistics(inspect_dataset(open_dataset(images))[0])
    assert about["pixel_format"] == pixel_format and (about["mean"], about["std"]) == (mean, std)
    assert about["encoder"]["in_chans"] == pixel_format["channels"] == len(mean)


def test_evaluated_embedded_and_reloaded(trained, tmp_path):
    images, run, pixel_format = trained
    records = openjepa.evaluate([run], images, tasks="linear,knn,attentive", cache=tmp_path / "cache", workers=0)
    assert {record["model"] for record in records} == {"constant", "pixels", "untrained", str(run)}
    linear = {r["model"]: r["value"] for r in records if r["task"].startswith("linear")}
    assert linear["untrained"] >= 0.7  # the classes differ plainly once values are standardised
    found = vectors(openjepa.embed(run, images, out=tmp_path / "v.parquet", workers=0, precision="float32"))
    encoder = openjepa.load_encoder(run)
    path = sorted(found)[3]
    array = tifffile.imread(images / path) if path.endswith("tif") else np.asarray(Image.open(images / path))[..., None]
    array = np.moveaxis(array, 0, 2) if len(array) == 12 else array
    np.testing.assert_allclose(encoder.embed(array)[0], found[path], atol=1e-5)
    assert encoder.patch_tokens([array]).shape == (1, 4, 8, 128)
    with pytest.raises(openjepa.UsageError, match=rf"arrays \[H, W, {pixel_format['channels']}\]"):
        encoder.embed(np.zeros((20, 20, 7), np.float32))


@pytest.mark.usefixtures("reports")
def test_resumed_and_reported(trained, tmp_path):
    images, run, pixel_format = trained
    again = openjepa.pretrain(images, out=run, resume=True, workers=1)
    page = (run / "report.html").read_text()
    assert again == run and "read as" in page and "--any-orientation" in page
    if pixel_format["channels"] == 12:
        whole = openjepa.pretrain(images, out=tmp_path / "whole", **SMALL | {"workers": 2})
        assert (whole / "encoder/model.safetensors").read_bytes() == (run / "encoder/model.safetensors").read_bytes()


@pytest.mark.parametrize("to", ["hf", "timm", "safetensors", "onnx"])
def test_exported_and_the_same_there(trained, to, tmp_path):
    folder = openjepa.export(trained[1], to=to, out=tmp_path / to, images=str(trained[0]))
    comparison = json.loads((folder / "comparison.json").read_text())
    assert comparison["patch_tokens"]["max"] < 1e-3 and comparison["images_of"] == str(trained[0])


def test_head_and_predictions(trained, tmp_path):
    images, run, pixel_format = trained
    openjepa.evaluate([run], images, tasks="knn", save_head=tmp_path / "head", cache=tmp_path / "cache", workers=0)
    assert json.loads((tmp_path / "head/openjepa.json").read_text())["pixel_format"] == pixel_format
    file = openjepa.predict(tmp_path / "head", images, out=tmp_path / "p.csv", workers=0)
    assert len(file.read_text().splitlines()) == 25


@pytest.fixture(scope="module")
def colour(tmp_path_factory):
    home = tmp_path_factory.mktemp("colour")
    photos = draw_photos(home / "photos", 8)
    return photos, openjepa.pretrain(photos, out=home / "run", **SMALL | {"image_size": "16", "steps": 1})


def test_other_channels_are_one_clear_line(trained, colour, tmp_path):
    images, run, pixel_format = trained
    photos, rgb = colour
    file = tmp_path / "v.parquet"
    if pixel_format["channels"] == 1:  # grey and colour become each other
        assert len(vectors(openjepa.embed(run, photos, out=file, workers=0))) == 8
        assert len(vectors(openjepa.embed(rgb, images, out=file, workers=0))) == 24
        return
    for model, data, said in ((run, photos, "images of 3 channels, where 12"), (rgb, images, "12 channels, where 3")):
        with pytest.raises(openjepa.UsageError, match=said):
            openjepa.embed(model, data, out=file, workers=0)
        with pytest.raises(openjepa.UsageError, match=said):
            openjepa.evaluate([model], data, workers=0)
    with pytest.raises(openjepa.UsageError, match="12 channels, where 3 are to be read"):
        openjepa.pretrain(images, out=tmp_path / "more", init=str(rgb), **SMALL | {"image_size": "16"})


def test_weights_of_colour_go_on_with_more_channels(colour, tmp_path):
    images, settings = draw_bands(tmp_path / "bands"), SMALL | {"image_size": "16", "steps": 1}
    more = openjepa.pretrain(images, out=tmp_path / "more", init=str(colour[1]), channels=12, **settings)
    about = json.loads((more / "encoder/openjepa.json").read_text())
    assert about["pixel_format"]["values"] == "raw" and about["mean"][0] > 100
    assert openjepa.load_encoder(more).network.in_chans == 12


def test_a_report_samples_the_pages_of_a_file(tmp_path, monkeypatch):
    """One file may hold 100,000 images: a report reads some, and those that were asked for."""
    monkeypatch.setattr(run_pictures, "SEARCHED", 8)
    tifffile.imwrite(tmp_path / "stack.tif", np.random.default_rng(0).integers(0, 255, (40, 8, 8), np.uint8))
    Image.new("L", (8, 8)).save(tmp_path / "single.png")
    pixel_format = PixelFormat(1, "raw", "images")
    dataset, asked = run_pictures.sample_of(tmp_path, 0, pixel_format, ["stack.tif#30", "stack.tif", "single.png"])
    assert len(dataset) == 3 + 8
    assert [dataset.paths[index] for index in asked] == ["stack.tif#30", "stack.tif#0", "single.png"]
    with pytest.raises(UsageError, match=r"^--show stack.tif#40 is none of the 41 images"):
        run_pictures.sample_of(tmp_path, 0, pixel_format, ["stack.tif#40"])
