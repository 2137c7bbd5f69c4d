"""`pretrain --probe` trains on images without labels and measures on others that have some."""

import shutil

import pytest
from PIL import Image

import openjepa
from openjepa.errors import UsageError
from openjepa.runs.settings import read_config
from openjepa.training.monitoring.metrics_log import read_metrics

SMALL = {"image_size": 16, "batch_size": 8, "workers": 0, "steps": 2, "recipe": "laptop", "device": "cpu"}


@pytest.fixture
def plain(tmp_path, photos):
    """The pictures without labels."""
    (tmp_path / "plain").mkdir()
    for number, path in enumerate(sorted(path for path in photos.rglob("*") if path.is_file())):
        shutil.copy(path, tmp_path / "plain" / f"{number}{path.suffix}")
    return tmp_path / "plain"


def test_probes_measure_the_labelled_images_and_training_is_the_same(plain, photos, tmp_path):
    without = openjepa.pretrain(plain, out=tmp_path / "without", **SMALL)
    run = openjepa.pretrain(plain, out=tmp_path / "run", probe=photos, **SMALL)
    assert not any("knn" in record for record in read_metrics(without))
    first, *_, last = read_metrics(run)
    assert {"knn", "linear", "knn_pixels"} <= first.keys() and {"knn", "linear"} <= last.keys()
    assert (run / "encoder/model.safetensors").read_bytes() == (without / "encoder/model.safetensors").read_bytes()
    stored = read_config(run / "config.json")[1].probe
    assert stored.data == str(photos) and not stored.from_python
    text = openjepa.report(run, device="cpu").read_text()
    assert "<dt>online probe</dt>" in text and str(photos) in text


def test_a_run_is_resumed_with_its_probe(plain, photos, tmp_path):
    run = openjepa.pretrain(plain, out=tmp_path / "run", probe=photos, **SMALL)
    assert run.resume(workers=0, steps=3).done == 3 and "knn" in read_metrics(run)[-1]  # it knows its probe
    again = {"resume": True, "workers": 0, "steps": 4}
    with pytest.raises(UsageError, match=r"was started with --probe .*photos: give it again to resume"):
        openjepa.pretrain(plain, out=tmp_path / "run", **again)
    next(photos.rglob("*.*")).unlink()
    with pytest.raises(UsageError, match="the images of --probe are others than"):
        openjepa.pretrain(plain, out=tmp_path / "run", probe=photos, **again)
    other = openjepa.pretrain(plain, out=tmp_path / "other", **SMALL)
    with pytest.raises(UsageError, match="was started without --probe: leave it out"):
        openjepa.pretrain(plain, out=other, probe=photos, **again)
    assert run.done == 3


def test_images_that_cannot_be_probed_are_refused(plain, photos, tmp_path):
    with pytest.raises(UsageError, match=r"--probe .*plain has no labels: give one folder a class"):
        openjepa.pretrain(plain, out=tmp_path / "run", probe=plain, **SMALL)
    few = tmp_path / "few"
    for name in ("cat", "dog"):
        (few / name).mkdir(parents=True)
        Image.new("RGB", (20, 20)).save(few / name / "a.png")
    with pytest.raises(UsageError, match="has 2 labelled images of 2 classes: give at least 12 of two"):
        openjepa.pretrain(plain, out=tmp_path / "run", probe=few, **SMALL)
    assert not (tmp_path / "run").exists()
