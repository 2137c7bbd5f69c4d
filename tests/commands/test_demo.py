"""The demo, small: scenes or a person's images, to a table and a report."""

import json

import pytest
from support.photos import draw_photos

import openjepa
from openjepa.commands import demo as module

SMALL = {"steps": 2, "batch_size": 4, "predictor_depth": 1, "workers": 0, "image_size": 16, "patch_size": 4}


def table(run):
    return {(r["model"], r["task"]): r for r in json.loads((run / "evaluation.json").read_text())}


def test_scenes_to_table_and_report(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(module, "TRAIN", "scenes:120:0")
    monkeypatch.setattr(module, "TEST", "scenes:60:1")
    monkeypatch.setattr(module, "PROBED", 100)
    run = openjepa.demo(out=tmp_path / "run", **SMALL)
    results = table(run)
    models, labels = ("constant", "pixels", "untrained", str(run)), ("shape", "count", "distance")
    assert set(results) == {(m, f"{task}:{label}") for m in models for task in ("linear", "knn") for label in labels}
    protocol = results["pixels", "knn:shape"]["protocol"]
    assert protocol["train_images"] == 100 and protocol["test_images"] == 60 and protocol["test"] == "scenes:60:1"
    said = capsys.readouterr().out
    assert "linear shape" in said and str(run / "report.html") in said.replace("\n", "")


def test_a_persons_images_with_and_without_classes(tmp_path, capsys):
    labelled = draw_photos(tmp_path / "labelled", 40)
    run = openjepa.demo(data=str(labelled), out=tmp_path / "a", **SMALL)
    assert ("untrained", "linear") in table(run)
    flat = draw_photos(tmp_path / "flat", 12, classes=())
    run = openjepa.demo(data=str(flat), out=tmp_path / "b", **SMALL)
    assert not (run / "evaluation.json").exists() and (run / "report.html").exists()
    assert "no labels to measure by" in capsys.readouterr().out


@pytest.mark.parametrize(("given", "batch_size"), [({"time": "1h"}, 16), ({"method": "mae"}, 64)])
def test_more_time_makes_no_wider_model_and_mae_has_its_own_sizes(given, batch_size):
    config = module.demo_config(given)
    assert (config.model, config.batch_size, config.image_size) == ("vit_nano", batch_size, "48")


def test_a_finished_demo_is_not_overwritten(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(openjepa.UsageError, match="holds another run"):
        openjepa.demo(out=tmp_path, **SMALL)


def test_classes_of_one_image_are_refused_before_the_training(tmp_path):
    photos = draw_photos(tmp_path / "photos", 3, ("a", "b", "c"))
    with pytest.raises(openjepa.UsageError, match="single image"):
        openjepa.demo(data=str(photos), out=tmp_path / "run", **SMALL)
    assert not (tmp_path / "run" / "metrics.jsonl").exists()
