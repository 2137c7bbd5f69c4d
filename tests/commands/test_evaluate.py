"""evaluate and embed as a person uses them."""

import contextlib
import csv
import io
import json
import os
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
import timm
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file
from support.hub_fake import Hub
from support.photos import draw_photos
from support.processes import together
from support.sheets import sheet_values

import openjepa
from openjepa import console
from openjepa.cli import status_of
from openjepa.data.crops import Frame
from openjepa.encoder.encoder import Encoder
from openjepa.encoder.feature_cache import FeatureStore
from openjepa.interop.open_model import open_model
from openjepa.runs import evaluation

SMALL = {"image_size": 16, "batch_size": 8, "predictor_depth": 1, "workers": 0, "precision": "float32"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    photos = draw_photos(folder / "photos", 60)
    openjepa.pretrain(str(photos), out=folder / "run", steps=2, **SMALL)
    return photos, folder / "run"


def test_records_of_a_run_and_its_baselines(trained, tmp_path, capsys):
    photos, run = trained
    out = tmp_path / "records.json"
    records = openjepa.evaluate([str(run)], str(photos), json=out, workers=0)
    assert json.loads(out.read_text()) == records == json.loads((run / "evaluation.json").read_text())
    assert {(r["model"], r["task"]) for r in records} == {
        (model, task) for model in ("constant", "pixels", "untrained", str(run)) for task in ("linear", "knn")
    }
    for record in records:
        assert set(record) == {"model", "data", "task", "metric", "value", "low", "high", "protocol"}
        assert 0 <= record["low"] <= record["value"] <= record["high"] <= 1
        assert "held-out" in record["protocol"]["test"]
    pixels = {r["task"]: r["value"] for r in records if r["model"] == "pixels"}
    assert pixels["linear"] == pixels["knn"] == 1.0  # the two classes differ in colour
    constant = {r["task"]: r for r in records if r["model"] == "constant"}
    assert constant["linear"]["value"] == constant["knn"]["value"] == 0.5
    assert constant["knn"]["protocol"]["answer"] == "always cat, the commonest class"
    table = capsys.readouterr().out
    assert all(word in table for word in ("constant", "pixels", "untrained", "100.0"))


def test_a_test_set_and_other_models(trained, tmp_path):
    photos, run = trained
    test = draw_photos(tmp_path / "test", 20)
    names = ["pixels", "untrained:vit_nano", f"untrained:{run}", str(run / "encoder")]
    records = openjepa.evaluate(names, str(photos), test=str(test), tasks="knn", workers=0)
    assert [r["model"] for r in records] == ["constant", *names]
    assert all(r["protocol"]["test"] == str(test) and r["protocol"]["test_images"] == 20 for r in records)


def test_vectors_are_the_encoders(trained, tmp_path):
    photos, run = trained
    out = openjepa.embed(str(run), str(photos), out=tmp_path / "deep" / "v.parquet", workers=2, precision="float32")
    table = pq.read_table(out)
    paths = table["path"].to_pylist()
    assert len(paths) == 60 and paths == sorted(paths)
    encoder = openjepa.load_encoder(run)
    expected = encoder.embed([Image.open(photos / path) for path in paths])
    vectors = torch.from_numpy(np.array(table["vector"].to_pylist(), dtype=np.float32))
    torch.testing.assert_close(vectors, expected, atol=1e-5, rtol=1e-5)


def test_bad_images_are_left_out_and_said(trained, tmp_path, capsys):
    photos, run = trained
    some = shutil.copytree(photos, tmp_path / "some")
    bad = sorted(some.rglob("*.jpg"))[3]
    bad.write_bytes(bad.read_bytes()[:200])
    out = openjepa.embed(str(run), str(some), out=tmp_path / "v.parquet", workers=0)
    assert len(pq.read_table(out)) == 59
    assert bad.name in capsys.readouterr().out


def test_a_damaged_artifact_named_by_the_user(trained, tmp_path):
    photos, run = trained
    copy = shutil.copytree(run / "encoder", tmp_path / "encoder")
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(openjepa.UsageError, match="damaged"):
        openjepa.evaluate([str(copy)], str(photos), workers=0)
    step = next((run / "checkpoints").iterdir())
    with pytest.raises(openjepa.UsageError, match="neither a run nor an artifact"):
        openjepa.embed(str(step), str(photos), out=tmp_path / "v.parquet")
    assert not (tmp_path / "v.parquet").exists()


def test_both_encoders_paired_stored_and_shown(trained, tmp_path, capsys):
    photos, run = trained
    places = {"json": tmp_path / "r.json", "csv": tmp_path / "r.csv", "page": tmp_path / "r.html"}
    places["xlsx"] = tmp_path / "r.xlsx"
    records = openjepa.evaluate(
        str(run), str(photos), tasks="knn,retrieval", encoder="both", workers=0, precision="float32", **places
    )
    models = ["constant", "pixels", "untrained", str(run), f"{run} (context encoder)"]
    assert [r["model"] for r in records if r["task"] == "knn"] == models
    for record in records:
        protocol = record["protocol"]
        assert set(protocol["paired_difference_to"]) == set(models) - {record["model"]}
        assert {"split_hash", "torch_version", "openjepa_version", "interval", "near_duplicates"} <= set(protocol)
        size = "32x32" if record["model"] == "pixels" else "16x16"
        if record["model"] != "constant":
            assert (protocol["device"], protocol["precision"], protocol["image_size"]) == ("cpu", "float32", size)
    hashes = {record["model"]: record["protocol"].get("model_hash") for record in records}
    assert len(set(hashes.values())) == len(models)
    by_name = {(r["model"], r["task"]): r for r in records}
    ours, theirs = by_name[str(run), "mAP"], by_name["pixels", "mAP"]
    value, low, high = ours["protocol"]["paired_difference_to"]["pixels"]
    assert value == pytest.approx(ours["value"] - theirs["value"]) and low <= value <= high
    back = theirs["protocol"]["paired_difference_to"][str(run)]
    assert back == [-value, -high, -low]
    sentence = f"neither of {run} and {run} (context encoder) is better here; not clearly different in k-NN"
    assert sentence in capsys.readouterr().out
    table = list(csv.DictReader(places["csv"].open()))
    assert [row[:5] for row in sheet_values(places["xlsx"])[1:]] == [
        [record[key] for key in ("model", "data", "task", "metric", "value")] for record in records
    ]
    assert [float(row["value"]) for row in table] == [r["value"] for r in records]
    page = places["page"].read_text()
    assert page.count('<th scope="row">k-NN</th>') == 1 + 10  # five numbers, and every two models once
    assert "Each task is tested separately" in page
    assert "(context encoder) is better here; not clearly different" in page and "<svg" in page and "//" not in page


def test_the_context_encoder_is_the_one_that_was_stored(trained):
    _, run = trained
    stored = load_file(run / "encoder" / "context_encoder.safetensors")
    context = openjepa.load_encoder(run, which="context").network.state_dict()
    assert all(torch.equal(stored[name], value) for name, value in context.items())


def test_the_second_time_nothing_is_computed(trained, tmp_path, monkeypatch):
    photos, run = trained
    words = {"tasks": "linear,knn,probe-appearance", "cache": tmp_path / "cache", "workers": 0}
    first = openjepa.evaluate(str(run), str(photos), **words)
    monkeypatch.setattr(Encoder, "layer_features", None)
    assert openjepa.evaluate(str(run), str(photos), **words) == first


def test_counting_with_and_without_classes(trained, tmp_path, capsys):
    flat = draw_photos(tmp_path / "flat", 40, classes=())
    lines = [f"{path.name},{k}" for i, path in enumerate(sorted(flat.glob("*.jpg"))) for k in range(1 + i % 3)]
    (tmp_path / "boxes.csv").write_text("image,box\n" + "\n".join(lines))
    records = openjepa.evaluate("pixels", str(flat), tasks="count", annotations=str(tmp_path / "boxes.csv"), workers=0)
    assert [r["task"] for r in records] == ["count", "count-error"] * 2
    assert records[2]["protocol"]["test_images"] == 8 and records[2]["protocol"]["classes"] == ["1", "2", "3"]
    some = openjepa.evaluate(
        "pixels", str(trained[0]), tasks="count", annotations=str(tmp_path / "boxes.csv"), workers=0
    )
    assert f"note: 20 of 60 images of {trained[0]} have no annotations in" in " ".join(capsys.readouterr().out.split())
    assert all(r["protocol"]["test_images"] + r["protocol"]["train_images"] == 40 for r in some)
    assert all(r["protocol"]["unit"] == "objects" for r in some if r["metric"] == "mean error")
    with pytest.raises(openjepa.UsageError, match="distance needs depths, and 32 images"):
        openjepa.evaluate("pixels", str(flat), tasks="distance", annotations=str(tmp_path / "boxes.csv"), workers=0)


def test_counts_that_training_never_shows_are_said_and_never_right(tmp_path, capsys):
    """Brightness tells the count, and the brightest test images show more than any training image."""

    def draw(folder, counts):
        (tmp_path / folder).mkdir()
        for number, count in enumerate(counts):
            Image.new("RGB", (8, 8), (20 * count,) * 3).save(tmp_path / folder / f"{folder}{number}.png")
        lines = [f"{folder}{number}.png,1" for number, count in enumerate(counts) for _ in range(count)]
        (tmp_path / f"{folder}.csv").write_text("image,box\n" + "\n".join(lines))
        return str(tmp_path / folder), str(tmp_path / f"{folder}.csv")

    (train, boxes), (test, others) = draw("train", [1, 2, 3] * 12), draw("test", [1, 2, 3, 3, 7, 9])
    words = {"test": test, "annotations": boxes, "test_annotations": others, "workers": 0}
    records = openjepa.evaluate("pixels", train, tasks="count,probe-appearance", **words)
    said = " ".join(capsys.readouterr().out.split())
    assert "2 of 6 test images show counts that no training image shows (from 7 to 9), and are never right" in said
    values = {record["task"]: record["value"] for record in records}
    assert values["count"] == pytest.approx(4 / 6)
    assert values["semantics:count"] == pytest.approx((4 - 1) / (6 - 1))  # always saying 1 is right once


def test_annotations_of_no_image_are_counted_and_quantities_asked_beside_classes(trained, tmp_path, capsys):
    photos, _ = trained
    paths = sorted(photos.rglob("*.jpg"))
    images = [{"id": number, "file_name": path.name} for number, path in enumerate(paths)]
    boxes = [{"image_id": number} for number, path in enumerate(paths) for _ in range(1 + (path.parent.name == "dog"))]
    coco = {"images": [*images, {"id": -1, "file_name": "gone.jpg"}], "annotations": boxes}
    (tmp_path / "coco.json").write_text(json.dumps(coco))
    words = {"tasks": "count,probe-appearance", "annotations": str(tmp_path / "coco.json"), "workers": 0}
    values = {record["task"]: record["value"] for record in openjepa.evaluate("pixels", str(photos), **words)}
    assert "1 of 61 annotations in" in capsys.readouterr().out
    assert values["count"] == values["semantics:class"] == values["semantics:count"] == 1  # dogs show two


def rows_of(photos, **columns) -> str:
    """A CSV of the images below a folder, with a column for each function of (number, path)."""
    paths = sorted(photos.rglob("*.jpg"))
    rows = [",".join([str(path), *(make(n, path) for make in columns.values())]) for n, path in enumerate(paths)]
    return "\n".join([",".join(["path", *columns]), *rows])


def test_unlabelled_images_are_left_out_of_each_label_and_counted(trained, tmp_path, capsys):
    kind = {"kind": lambda n, path: "" if n % 3 == 0 else path.parent.name, "half": lambda n, path: "xy"[n % 2]}
    (tmp_path / "list.csv").write_text(rows_of(trained[0], **kind))
    tasks = "linear,knn,fewshot,retrieval,attentive,robustness,probe-appearance"
    words = {"tasks": tasks, "shots": "3", "workers": 0}
    records = openjepa.evaluate(str(trained[1]), str(tmp_path / "list.csv"), **words)
    said = " ".join(capsys.readouterr().out.split())
    assert "labelled by kind (2 values; 20 without), half (2 values)" in said
    assert "note: 20 of 60 images of" in said and "have no label kind, and are left out of its probes and tests" in said
    counts = {r["task"]: r["protocol"]["test_images"] for r in records if r["model"] == "pixels"}
    for task in ("linear", "knn", "fewshot-3", "recall@1", "attentive", "robust-clean", "robust-jpeg", "semantics"):
        assert (counts[f"{task}:kind"], counts[f"{task}:half"]) == (8, 12), task
    train = {r["task"]: r["protocol"].get("train_images") for r in records if r["model"] == "pixels"}
    assert (train["knn:kind"], train["knn:half"]) == (32, 48)
    values = {r["task"]: r["value"] for r in records if r["model"] == "pixels"}
    assert values["linear:kind"] == values["knn:kind"] == 1.0  # the classes differ in colour


def test_a_single_image_of_a_class_is_not_tested_on_and_other_labels_of_test_are_left_out(trained, tmp_path, capsys):
    kinds = {"kind": lambda n, path: "rare" if n == 7 else path.parent.name}
    (tmp_path / "list.csv").write_text(rows_of(trained[0], **kinds))
    (tmp_path / "test.csv").write_text(rows_of(trained[0], kind=kinds["kind"], extra=lambda n, path: "xy"[n % 2]))
    constant, record = openjepa.evaluate("pixels", str(tmp_path / "list.csv"), tasks="knn", workers=0)
    assert constant["value"] < 1
    said = " ".join(capsys.readouterr().out.split())
    assert "1 classes of kind with a single image, which is not tested on: rare" in said
    assert record["value"] == 1.0
    words = {"test": str(tmp_path / "test.csv"), "tasks": "knn", "workers": 0}
    records = openjepa.evaluate("pixels", str(tmp_path / "list.csv"), **words)
    assert [record["task"] for record in records] == ["knn:kind"] * 2
    assert "do not share, or that have one class only, are left out: extra" in " ".join(capsys.readouterr().out.split())
    (tmp_path / "other.csv").write_text(rows_of(trained[0], extra=lambda n, path: "xy"[n % 2]))
    with pytest.raises(openjepa.UsageError, match=r"has the labels kind and .* has extra: give images with the same"):
        openjepa.evaluate("pixels", str(tmp_path / "list.csv"), **words | {"test": str(tmp_path / "other.csv")})


def test_a_label_that_is_called_count_is_not_the_task(trained, tmp_path):
    """The label is the folder, and the count of objects is another quantity: their probes are not one."""
    (tmp_path / "list.csv").write_text(rows_of(trained[0], count=lambda n, path: path.parent.name))
    lines = [f"{path},{k}" for n, path in enumerate(sorted(trained[0].rglob("*.jpg"))) for k in range(1 + n % 3)]
    (tmp_path / "boxes.csv").write_text("image,box\n" + "\n".join(lines))
    words = {"annotations": str(tmp_path / "boxes.csv"), "workers": 0}

    def count(tasks):
        records = openjepa.evaluate("pixels", str(tmp_path / "list.csv"), tasks=tasks, **words)
        return {record["task"]: record["value"] for record in records}

    alone, after = count("count"), count("linear,count")
    assert after["count"] == alone["count"] and after["linear:count"] == 1.0


def test_a_split_that_leaks_is_said(trained, tmp_path, capsys):
    photos, _ = trained
    records = openjepa.evaluate("pixels", str(photos), test=str(photos), tasks="knn", workers=0)
    assert "60 of 60 test images have a near duplicate" in capsys.readouterr().out
    assert records[0]["protocol"]["near_duplicates"] == 60


def test_near_duplicates_sought_among_some_are_said_to_be(trained, capsys, monkeypatch):
    photos, _ = trained
    monkeypatch.setattr(evaluation, "COMPARED", 40)
    _, record = openjepa.evaluate("pixels", str(photos), test=str(photos), tasks="knn", workers=0)
    said = " ".join(capsys.readouterr().out.split())
    assert record["protocol"]["near_duplicates_sought_in"] == {"train": 40, "test": 40}
    assert "among 40 training images" in said and "sought among 40 images of a part, at random" in said


def test_transfer_to_scenes_and_the_page_of_appearance(trained, tmp_path):
    """A run that was trained on photos is probed on drawn scenes, which know all that quantity tasks ask."""
    _, run = trained
    tasks, place = "count,distance,depth,segment,probe-appearance", tmp_path / "page.html"
    words = {"test": "scenes:30:1", "tasks": tasks, "page": place, "workers": 0}
    records = openjepa.evaluate(str(run), "scenes:90:0", **words)
    ours = {record["task"]: record for record in records if record["model"] == str(run)}
    semantics, looks = ("shape", "count", "distance"), ("colour", "brightness", "texture", "position")
    named = [*(f"appearance:{name}" for name in looks), *(f"semantics:{name}" for name in semantics)]
    assert list(ours) == ["count", "count-error", "distance", "depth", "depth-delta1", "segment", *named]
    assert ours["count"]["data"] == "scenes:90:0" and ours["count"]["protocol"]["classes"] == list("123456")
    page = place.read_text()
    chart = page.split("<h2>Appearance and semantics</h2>")[1].split("</section>")[0]
    written = re.findall(r">([^<]+)</text>", chart)
    assert written.count("pixels") == written.count("untrained") == len(named)
    assert {"appearance (colour)", "semantics (count)"} <= {word.lower() for word in written}
    for task in named:
        assert f"{100 * ours[task]['value']:.1f}" in [word.replace("\N{MINUS SIGN}", "-") for word in written], task


def test_runs_that_differ_in_their_seed_are_averaged(trained, tmp_path):
    photos, run = trained
    other = tmp_path / "other"
    openjepa.pretrain(str(photos), out=other, steps=2, seed=1, **SMALL)
    longer = openjepa.pretrain(str(photos), out=tmp_path / "longer", steps=3, seed=2, **SMALL)
    names = [str(run), str(other), str(longer)]
    records = openjepa.evaluate(names, str(photos), tasks="knn,fewshot", shots="3", workers=0)
    found = {(r["model"], r["task"]): r for r in records}
    mean = f"mean of 2 seeds of {run}"
    assert {model for model, _ in found} == {"constant", "pixels", "untrained", *names, mean}
    for task in ("knn", "fewshot-3"):
        values = [found[name, task]["value"] for name in names[:2]]
        record = found[mean, task]
        assert record["value"] == pytest.approx(np.mean(values)) and record["protocol"]["values"] == values
        assert "t over 2 seeds" in record["protocol"]["interval"]
        value, low, high = record["protocol"]["paired_difference_to"]["pixels"]
        assert low <= value <= high and value == pytest.approx(record["value"] - found["pixels", task]["value"])


def test_context_encoders_are_averaged_over_seeds_and_compared(trained, tmp_path, capsys):
    photos, run = trained
    other = openjepa.pretrain(str(photos), out=tmp_path / "other", steps=2, seed=1, **SMALL)
    names = [str(run), str(other)]
    records = openjepa.evaluate(names, str(photos), tasks="knn", encoder="context", workers=0)
    values = {record["model"]: record["value"] for record in records}
    shown = [f"{name} (context encoder)" for name in names]
    assert list(values) == ["constant", "pixels", "untrained", *shown, f"mean of 2 seeds of {shown[0]}"]
    assert values[f"mean of 2 seeds of {shown[0]}"] == pytest.approx(np.mean([values[name] for name in shown]))
    assert "they have no task in common" not in capsys.readouterr().out


def test_models_of_other_libraries(trained, tmp_path, monkeypatch):
    """A folder of transformers, a folder of timm, a name of timm and one of the Hub, by the command's own words."""
    photos, _ = trained
    config = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48}
    transformers.IJepaModel(
        transformers.IJepaConfig(image_size=16, patch_size=8, **config), add_pooling_layer=False
    ).save_pretrained(tmp_path / "hf")
    shape = {"img_size": 32, "depth": 1, "class_token": False, "global_pool": "avg", "fc_norm": False}
    made = timm.create_model("vit_tiny_patch16_224", num_classes=0, **shape)
    timm.models.save_for_hf(made, tmp_path / "timm", model_args=shape, safe_serialization=True)
    files = {path.name: path.read_bytes() for path in (tmp_path / "timm").iterdir()}
    hub = Hub(files)
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    monkeypatch.setenv("OPENJEPA_CACHE", str(tmp_path / "fetched"))
    far = SimpleNamespace(hf_hub_id="lab/model", license=None)
    monkeypatch.setattr(timm, "get_pretrained_cfg", lambda name: far)
    named = ["lab/model", "vit_tiny_patch16_224"]
    names = [str(tmp_path / "hf"), str(tmp_path / "timm"), *named, "untrained:vit_small_patch16", "pixels"]
    records = openjepa.evaluate(names, str(photos), tasks="knn", workers=0)
    hub.shutdown()
    hub.server_close()
    assert [r["model"] for r in records] == ["constant", *names]
    values = {r["model"]: r["value"] for r in records}
    assert values["lab/model"] == values["vit_tiny_patch16_224"] == values[str(tmp_path / "timm")]


def test_an_untrained_name_without_a_size_is_of_the_usual_one():
    sizes = {name: open_model(name, "cpu", torch.float32).image_size for name in ("untrained:vit_nano", "pixels")}
    assert set(sizes.values()) == {(32, 32)}
    assert open_model("untrained:vit_nano_patch16", "cpu", torch.float32).image_size == (224, 224)
    assert open_model("untrained:vit_nano_patch16", "cpu", torch.float32, Frame((64, 64))).image_size == (64, 64)


def printed_by(*words: str) -> str:
    """What a command prints in a process of several."""
    console.console.quiet = os.environ["RANK"] != "0"  # as set when the program starts
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert status_of(words) == 0
    return said.getvalue()


def test_two_processes_give_the_numbers_of_one(tmp_path, capsys):
    model, train = "untrained:vit_nano_patch8_16", draw_photos(tmp_path / "train", 120)
    test, bad = draw_photos(tmp_path / "test", 30, ("cat", "dog")), sorted(train.rglob("*.jpg"))[3]
    bad.write_bytes(bad.read_bytes()[:300])
    settings = {"test": str(test), "workers": 0, "tasks": "linear,attentive,probe-appearance", "precision": "float32"}
    openjepa.evaluate([model], str(train), json=tmp_path / "1.json", cache=f"{tmp_path}/1", **settings)
    words = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
    places = "--json", str(tmp_path / "2.json"), "--cache", f"{tmp_path}/2"
    said = together(2, lambda: printed_by("evaluate", model, str(train), *words, *places), meet=False)
    assert json.loads((tmp_path / "1.json").read_text()) == json.loads((tmp_path / "2.json").read_text())
    assert said == [capsys.readouterr().out, ""]  # once, by the first process alone


@pytest.mark.parametrize(
    ("change", "words", "message"),
    [
        (
            "flat",
            {},
            "flat has no labels to measure by: put .* for boxes of objects, give --annotations BOXES --tasks count",
        ),
        ("one class", {}, "has no labels to measure by: put .* one folder a class, of two classes or more"),
        ("one image", {}, r"1 of 2 classes have a single image \(emu\): evaluation needs at least 2 images of at"),
        ("other classes", {"test": "photos"}, "has classes that .* does not have"),
        ("", {"tasks": "fewshot", "shots": "50"}, "--shots 50 asks for more images than class cat has"),
        ("", {"tasks": "count"}, "count needs objects, and .* has none: give --annotations"),
        ("", {"tasks": "knn,count,linear"}, r"count needs objects, .*; or measure the rest with --tasks knn,linear$"),
        ("", {"tasks": "count", "annotations": "nowhere"}, "nowhere does not exist"),
        ("", {"tasks": "depth", "depths": "maps"}, "depth needs maps, and none is of an image of this part"),
        ("", {"tasks": "depth", "depths": "two"}, "cat/000.jpg matches x/000.png and y/000.png equally well among"),
        ("", {"tasks": "segment", "masks": "photos"}, "is in colour: maps have one value a pixel"),
        ("", {"tasks": "depth", "depths": "tall"}, "is 20x40, its image 20x20: they must have the same proportions"),
        ("", {"test_masks": "maps"}, "--test-masks maps is of the images of --test, which is not given: name"),
        (
            "scenes",
            {"tasks": "count", "annotations": "x.csv"},
            "x.csv was given for scenes:9:0, and drawn scenes",
        ),
        ("", {"tasks": "lineer"}, "task lineer is not known.*did you mean linear"),
        ("", {"json": "photos"}, "is a folder: give the name of a file"),
        ("", {"save_head": "head"}, "--save-head needs an encoder"),
    ],
)
def test_what_cannot_be_measured_is_said_in_a_line_before_anything_is(tmp_path, monkeypatch, change, words, message):
    photos = draw_photos(tmp_path / "photos")
    made = {
        "flat": lambda: draw_photos(tmp_path / "flat", classes=()),
        "one class": lambda: draw_photos(tmp_path / "one", classes=("cat",)),
        "one image": lambda: draw_photos(tmp_path / "single", 6, ("ape",)),
        "other classes": lambda: draw_photos(tmp_path / "others", classes=("ape", "bee")),
        "scenes": lambda: "scenes:9:0",
        "": lambda: photos,
    }
    data = made[change]()
    if change == "one image":
        draw_photos(data, 1, ("emu",))
    (tmp_path / "maps").mkdir()
    Image.new("L", (20, 20), 7).save(tmp_path / "maps" / "000.png")
    for folder in ("two/x", "two/y"):
        shutil.copytree(tmp_path / "maps", tmp_path / folder)
    (tmp_path / "tall").mkdir()
    for number in range(24):
        Image.new("L", (20, 40), 7).save(tmp_path / "tall" / f"{number:03}.png")
    monkeypatch.setattr(FeatureStore, "get", None)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(openjepa.UsageError, match=message) as raised:
        openjepa.evaluate("pixels", str(data), workers=0, **words)
    assert "\n" not in str(raised.value)


def test_maps_of_real_images(trained, tmp_path):
    """Depth and masks from files beside the images: what is planted in their colour is found."""
    photos, _ = trained
    for path in photos.rglob("*.jpg"):
        for kind, low in (("depths", 10), ("masks", 0)):
            values = np.full((20, 20), low, np.uint8)
            values[:, 10:] += 1 if kind == "masks" else 50 * (path.parent.name == "cat")
            place = tmp_path / kind / path.parent.name / f"{path.stem}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(values).save(place)
    records = openjepa.evaluate(
        "untrained:vit_nano_patch4_20",
        str(photos),
        tasks="depth,segment",
        depths=str(tmp_path / "depths"),
        masks=str(tmp_path / "masks"),
        workers=0,
    )
    assert {(r["task"], r["metric"]) for r in records} == {
        ("depth", "RMSE"),
        ("depth-delta1", "delta1"),
        ("segment", "mIoU"),
    }
    values = {(r["model"], r["task"]): r["value"] for r in records}
    # The maps' own numbers: 10 on the left, on the right 10 or, for cats, 60; knowing the place alone errs by 17.7.
    assert values["untrained:vit_nano_patch4_20", "depth"] < 15 < 17.7 < values["pixels", "depth"] < 30
    # The halves differ in nothing but their place.
    assert values["untrained:vit_nano_patch4_20", "segment"] > 0.7 > values["pixels", "segment"]


def test_encoder_words(trained):
    photos, run = trained
    with pytest.raises(openjepa.UsageError, match=r"--encoder contxt is not known.*did you mean context"):
        openjepa.evaluate(str(run), str(photos), encoder="contxt", workers=0)
    for seed in (-1, 2**63):
        with pytest.raises(openjepa.UsageError, match=f"--seed {seed} is not possible"):
            openjepa.evaluate("pixels", "scenes:9", seed=seed)
    for epochs in (0, float("inf"), float("nan"), 1e300):
        with pytest.raises(openjepa.UsageError, match=f"--epochs {re.escape(f'{epochs:g}')} is not possible"):
            openjepa.evaluate(str(run), str(photos), epochs=epochs, workers=0)
