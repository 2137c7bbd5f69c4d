"""evaluate and embed as a person uses them."""

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from tests_support import draw_photos

import openjepa

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
