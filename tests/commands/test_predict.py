"""A head that is kept opens in transformers, says what `predict` says, and is refused when it is none."""

import csv
import json
import re
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from support.photos import draw_photos
from support.sheets import sheet_values

import openjepa
from openjepa.interop.classifier import load_classifier

SMALL = {"image_size": 16, "batch_size": 8, "predictor_depth": 1, "workers": 0, "precision": "float32"}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept")
    photos = draw_photos(folder / "photos", 60)
    openjepa.pretrain(str(photos), out=folder / "run", steps=2, **SMALL)
    openjepa.evaluate(
        [str(folder / "run")], str(photos), tasks="knn", save_head=folder / "head", workers=0, precision="float32"
    )
    return photos, folder / "run", folder / "head"


def _number(text):
    return float(text) if text[0].isdigit() and "/" not in text else text


def test_transformers_gives_the_probabilities_that_predict_writes(kept, tmp_path):
    from transformers import AutoModelForImageClassification

    photos, run, head = kept
    out = openjepa.predict(head, str(photos), out=tmp_path / "deep" / "said.csv", workers=0, precision="float32")
    rows = list(csv.DictReader(out.open()))
    for suffix in (".xlsx", ".parquet"):
        openjepa.predict(head, str(photos), out=tmp_path / f"said{suffix}", workers=0, precision="float32")
    shown = [[_number(text) for text in row.values()] for row in rows]
    assert sheet_values(tmp_path / "said.xlsx") == [[*rows[0]], *shown]
    assert [[*row.values()] for row in pq.read_table(tmp_path / "said.parquet").to_pylist()] == shown
    theirs, report = AutoModelForImageClassification.from_pretrained(head, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"] and not report["mismatched_keys"]
    assert theirs.config.id2label == {0: "cat", 1: "dog"}
    encoder = openjepa.load_encoder(run)
    pixels = encoder.standardised(encoder.preprocess([Image.open(photos / row["path"]) for row in rows]))
    with torch.no_grad():
        shares = theirs.eval()(pixels).logits.softmax(1).numpy()
    ours = np.array([[float(row[f"probability of {name}"]) for name in ("cat", "dog")] for row in rows])
    np.testing.assert_allclose(ours, shares, atol=1e-4)
    assert [row["prediction"] for row in rows] == [("cat", "dog")[int(k)] for k in ours.argmax(1)]
    right = np.mean([row["path"].startswith(row["prediction"]) for row in rows])
    about = json.loads((head / "openjepa.json").read_text())
    assert right >= 0.9 and about["classes"] == ["cat", "dog"] and about["test_accuracy"] >= 0.9


def test_the_licence_of_the_encoder_stays_with_a_head(kept, tmp_path):
    photos, run, _ = kept
    openjepa.import_(run, tmp_path / "licensed", licence="cc-by-nc-4.0")
    about = {"tasks": "knn", "save_head": tmp_path / "head", "workers": 0, "precision": "float32"}
    openjepa.evaluate([str(tmp_path / "licensed")], str(photos), **about)
    assert json.loads((tmp_path / "head/openjepa.json").read_text())["source"]["licence"] == "cc-by-nc-4.0"
    assert load_classifier(tmp_path / "head").encoder.licence == "cc-by-nc-4.0"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("classes", []),
        ("classes", ["cat"]),
        ("classes", "cat"),
        ("classes", [1, 2]),
        ("std", [0.2, 0.2, 0.0]),
        ("mean", [float("nan")] * 3),
        ("classifier", {"depth": 10**9}),
        ("classifier", None),
        ("pixel_format", {"channels": 4}),
    ],
)
def test_a_head_with_a_field_out_of_bounds_is_refused(kept, tmp_path, field, value):
    copy = shutil.copytree(kept[2], tmp_path / "copy")
    about = json.loads((copy / "openjepa.json").read_text())
    (copy / "openjepa.json").write_text(json.dumps(about | {field: value}))
    with pytest.raises(openjepa.UsageError, match=r"is damaged: .*: write it again with --save-head"):
        load_classifier(copy)


def test_a_head_that_is_not_finite_is_refused(kept, tmp_path):
    copy = shutil.copytree(kept[2], tmp_path / "copy")
    tensors = load_file(copy / "model.safetensors")
    tensors["classifier.weight"][0, 0] = float("nan")
    save_file(tensors, copy / "model.safetensors")
    with pytest.raises(openjepa.UsageError, match="its head does not fit the classes: not finite: weight"):
        load_classifier(copy)


def test_counts_and_distances_have_heads_and_every_image_its_number(kept, tmp_path, capsys):
    """Brightness tells how many objects there are, and how far the nearest is."""
    (tmp_path / "images").mkdir()
    scenes = []
    for number in range(40):
        count = 1 + number % 4
        Image.new("RGB", (16, 16), (50 * count + number, 90, 40 * count)).save(tmp_path / f"images/{number:02}.png")
        objects = [{"pixel_coords": [1, 1, 5 + count + 10 * k]} for k in range(count)]
        scenes.append({"image_filename": f"{number:02}.png", "objects": objects})
    (tmp_path / "scenes.json").write_text(json.dumps({"scenes": scenes}))
    words = {"annotations": str(tmp_path / "scenes.json"), "workers": 0, "precision": "float32"}
    run, images = str(kept[1]), str(tmp_path / "images")
    openjepa.evaluate(run, images, tasks="count,distance", save_head=tmp_path / "numbers", **words)
    assert "head of" in (said := capsys.readouterr().out) and "count with a mean error of" in said
    out = openjepa.predict(tmp_path / "numbers", images, out=tmp_path / "out.csv", workers=0, precision="float32")
    rows = list(csv.DictReader(out.open()))
    assert list(rows[0]) == ["path", "trained_on", "count", "distance"] and len(rows) == 40
    for name, start in (("count", 1), ("distance", 6)):
        truth = np.array([start + number % 4 for number in range(40)])
        assert np.abs(np.array([float(row[name]) for row in rows]) - truth).mean() < 0.5
    said = " ".join(capsys.readouterr().out.split())
    assert "the head was trained on 32 of these images" in said and [r["trained_on"] for r in rows].count("yes") == 32
    assert re.search(r"count, mean error [.\d]+ objects, that of always giving the same answer [.\d]+ objects", said)
    assert re.search(r"distance, mean error [.\d]+ units of the annotations, that of always", said)
    openjepa.predict(tmp_path / "numbers", images, out=out, workers=0, precision="float32")  # replaces its own table
    with pytest.raises(openjepa.UsageError, match="has no labels to measure by"):
        openjepa.evaluate(run, images, tasks="depth", save_head=tmp_path / "maps", **words)


def test_images_that_a_head_has_seen_are_counted_under_any_name(kept, tmp_path, capsys):
    photos, _, head = kept
    for number, path in enumerate(sorted(photos.rglob("*.jpg"))):
        (tmp_path / "renamed").mkdir(exist_ok=True)
        shutil.copy(path, tmp_path / "renamed" / f"{number}.jpg")
    words = {"workers": 0, "precision": "float32"}
    openjepa.predict(head, str(tmp_path / "renamed"), out=tmp_path / "a.csv", **words)
    assert "the head was trained on 48 of these images" in " ".join(capsys.readouterr().out.split())
    assert [row["trained_on"] for row in csv.DictReader((tmp_path / "a.csv").open())].count("yes") == 48
    openjepa.predict(head, str(draw_photos(tmp_path / "new", 6, ("a", "b", "c"))), out=tmp_path / "b.csv", **words)
    said = " ".join(capsys.readouterr().out.split())
    assert "the head was trained on 0 of these images" in said and "warning" not in said
    assert "the head on 12 test images: class, accuracy 100.0 %, that of always giving the same answer 50.0 %" in said
    old = shutil.copytree(head, tmp_path / "old")  # as older versions wrote it
    (old / "trained_on.safetensors").unlink()
    about = json.loads((old / "openjepa.json").read_text())
    del about["quantities"], about["test"]
    (old / "openjepa.json").write_text(json.dumps(about))
    openjepa.predict(old, str(photos), out=tmp_path / "c.csv", **words)
    assert {row["trained_on"] for row in csv.DictReader((tmp_path / "c.csv").open())} == {""}
    assert "how good the head was on test images is not kept with it" in " ".join(capsys.readouterr().out.split())


def test_objects_of_one_kind_are_named_in_the_records_the_head_and_its_column(kept, tmp_path, capsys):
    (tmp_path / "images").mkdir()
    rows = ["image,class"]
    for number in range(40):
        Image.new("RGB", (16, 16), (50, 90, 40)).save(tmp_path / f"images/{number:02}.png")
        rows += [f"{number:02}.png,WBC"] * (1 + number * 7 % 3) + [f"{number:02}.png,RBC"]
        (tmp_path / f"images/{number:02}.xml").touch()
    (tmp_path / "boxes.csv").write_text("\n".join(rows))
    words = {"annotations": str(tmp_path / "boxes.csv"), "tasks": "count", "workers": 0, "precision": "float32"}
    run, images = str(kept[1]), str(tmp_path / "images")
    with pytest.raises(openjepa.UsageError, match="did you mean WBC"):
        openjepa.evaluate(run, images, kind="wbc", **words)
    places = {"save_head": tmp_path / "head", "csv": tmp_path / "r.csv"}
    records = openjepa.evaluate(run, images, kind="WBC", **words, **places)
    assert {record["protocol"]["kind"] for record in records} == {"WBC"}
    assert {row["kind"] for row in csv.DictReader(places["csv"].open())} == {"WBC"}
    about = json.loads((tmp_path / "head/openjepa.json").read_text())
    assert about["kind"] == "WBC"
    about["test"][0] |= {"low": -0.2, "high": 0.1}  # the interval of the difference to always giving the same answer
    (tmp_path / "head/openjepa.json").write_text(json.dumps(about))
    capsys.readouterr()
    out = openjepa.predict(tmp_path / "head", images, out=tmp_path / "out.csv", workers=0, precision="float32")
    assert list(next(csv.DictReader(out.open()))) == ["path", "trained_on", "count of WBC"]
    said = " ".join(capsys.readouterr().out.split())
    assert "warning: the head on 8 test images: count of WBC, mean error" in said and "not clearly better" in said
    assert "skipped 40 files that are no images" in said and ".xml" not in said and "; 40 files skipped" in said


def test_a_head_elsewhere_or_damaged_is_refused(kept, tmp_path):
    photos, run, head = kept
    out = tmp_path / "said.csv"
    with pytest.raises(openjepa.UsageError, match="does not exist"):
        openjepa.predict(tmp_path / "nowhere", str(photos), out=out)
    with pytest.raises(openjepa.UsageError, match="an encoder without a head"):
        openjepa.predict(run / "encoder", str(photos), out=out)
    with pytest.raises(openjepa.UsageError, match="is no classifier"):
        openjepa.predict(photos, str(photos), out=out)
    with pytest.raises(openjepa.UsageError, match=r"ends in \.csv"):
        openjepa.predict(head, str(photos), out=tmp_path / "said.txt")
    copy = shutil.copytree(head, tmp_path / "copy")
    (copy / "model.safetensors").write_bytes((copy / "model.safetensors").read_bytes()[:-50])
    with pytest.raises(openjepa.UsageError, match="damaged"):
        openjepa.predict(copy, str(photos), out=out)
    with pytest.raises(openjepa.UsageError, match="needs an encoder"):
        openjepa.evaluate("pixels", str(photos), save_head=tmp_path / "head", workers=0)
    with pytest.raises(openjepa.UsageError, match="--save-head another name"):
        openjepa.evaluate(str(run), str(photos), save_head=head, workers=0)
    assert not out.exists()
