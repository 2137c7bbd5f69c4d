"""evaluate and embed as a person uses them."""

import csv
import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tests_support import draw_photos

import openjepa
from openjepa.evaluation.encoder import Encoder

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
        (model, task) for model in ("pixels", "untrained", str(run)) for task in ("linear", "knn")
    }
    for record in records:
        assert set(record) == {"model", "data", "task", "metric", "value", "low", "high", "protocol"}
        assert 0 <= record["low"] <= record["value"] <= record["high"] <= 1
        assert "held-out" in record["protocol"]["test"]
    pixels = {r["task"]: r["value"] for r in records if r["model"] == "pixels"}
    assert pixels["linear"] == pixels["knn"] == 1.0  # the two classes differ in colour
    table = capsys.readouterr().out
    assert "pixels" in table and "untrained" in table and "100.0" in table


def test_a_test_set_and_other_models(trained, tmp_path):
    photos, run = trained
    test = draw_photos(tmp_path / "test", 20)
    names = ["pixels", "untrained:vit_nano", f"untrained:{run}", str(run / "encoder")]
    records = openjepa.evaluate(names, str(photos), test=str(test), tasks="knn", workers=0)
    assert [r["model"] for r in records] == names
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
    records = openjepa.evaluate(str(run), str(photos), tasks="knn,retrieval", encoder="both", workers=0, **places)
    models = ["pixels", "untrained", str(run), f"{run} (context encoder)"]
    assert [r["model"] for r in records if r["task"] == "knn"] == models
    for record in records:
        protocol = record["protocol"]
        assert set(protocol["paired_difference_to"]) == set(models) - {record["model"]}
        assert {"split_hash", "torch_version", "openjepa_version", "interval", "near_duplicates"} <= set(protocol)
    by_name = {(r["model"], r["task"]): r for r in records}
    ours, theirs = by_name[str(run), "mAP"], by_name["pixels", "mAP"]
    value, low, high = ours["protocol"]["paired_difference_to"]["pixels"]
    assert value == pytest.approx(ours["value"] - theirs["value"]) and low <= value <= high
    back = theirs["protocol"]["paired_difference_to"][str(run)]
    assert back == [-value, -high, -low]
    assert "beside" in capsys.readouterr().out
    table = list(csv.DictReader(places["csv"].open()))
    assert [float(row["value"]) for row in table] == [r["value"] for r in records]
    page = places["page"].read_text()
    assert "context encoder" in page and "<svg" in page and "//" not in page


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


def test_counting_without_classes(trained, tmp_path):
    flat = draw_photos(tmp_path / "flat", 40, classes=())
    lines = [f"{path.name},{k}" for i, path in enumerate(sorted(flat.glob("*.jpg"))) for k in range(1 + i % 3)]
    (tmp_path / "boxes.csv").write_text("image,box\n" + "\n".join(lines))
    records = openjepa.evaluate("pixels", str(flat), tasks="count", annotations=str(tmp_path / "boxes.csv"), workers=0)
    assert [r["task"] for r in records] == ["count", "count-error"]
    assert records[0]["protocol"]["test_images"] == 8 and records[0]["protocol"]["classes"] == ["1", "2", "3"]
    with pytest.raises(openjepa.UsageError, match="have no annotations"):
        openjepa.evaluate("pixels", str(trained[0]), tasks="count", annotations=str(tmp_path / "boxes.csv"), workers=0)
    with pytest.raises(openjepa.UsageError, match="distance needs depths, and 32 images"):
        openjepa.evaluate("pixels", str(flat), tasks="distance", annotations=str(tmp_path / "boxes.csv"), workers=0)


def test_a_split_that_leaks_is_said(trained, tmp_path, capsys):
    photos, _ = trained
    records = openjepa.evaluate("pixels", str(photos), test=str(photos), tasks="knn", workers=0)
    assert "60 of 60 test images have a near duplicate" in capsys.readouterr().out
    assert records[0]["protocol"]["near_duplicates"] == 60


def test_encoder_words(trained):
    photos, run = trained
    with pytest.raises(openjepa.UsageError, match=r"--encoder contxt is not known.*did you mean context"):
        openjepa.evaluate(str(run), str(photos), encoder="contxt", workers=0)
    with pytest.raises(openjepa.UsageError, match="--epochs 0"):
        openjepa.evaluate(str(run), str(photos), epochs=0, workers=0)
