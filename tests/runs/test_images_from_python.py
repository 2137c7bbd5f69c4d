"""Training, measuring and embedding of images that a program holds."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import openjepa
from openjepa.errors import UsageError

ROOT = Path(__file__).parents[2]
TINY = {"batch_size": 8, "image_size": 16, "patch_size": 4, "device": "cpu", "workers": 0, "steps": 6}


def images(count=32, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (20, 20, 3), dtype=np.uint8) for _ in range(count)]


def weights(run):
    return (run / "encoder" / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return openjepa.pretrain(images(), out=tmp_path_factory.mktemp("python") / "run", **TINY)


def test_a_run_is_that_of_the_same_images_in_an_array_file(run, tmp_path):
    np.save(tmp_path / "image.npy", np.stack(images()))
    other = openjepa.pretrain(tmp_path / "image.npy", out=tmp_path / "run", **TINY)
    assert weights(run) == weights(other)
    assert weights(run) == weights(openjepa.pretrain(images(), out=tmp_path / "workers", **TINY | {"workers": 2}))


def test_a_run_resumes_from_a_checkpoint_to_the_same_weights(run, tmp_path):
    half = openjepa.pretrain(images(), out=tmp_path / "run", keep_every=3, **TINY)
    shutil.rmtree(half / "encoder")
    shutil.rmtree(half / "checkpoints" / "step-00000006")
    openjepa.pretrain(images(), out=half, resume=True)
    assert weights(half) == weights(run)


def test_other_images_do_not_resume_a_run(run):
    with pytest.raises(UsageError, match="holds other images"):
        openjepa.pretrain(images(seed=1), out=run, resume=True)
    with pytest.raises(UsageError, match="holds 31 images"):
        openjepa.pretrain(images(31), out=run, resume=True)


@pytest.mark.usefixtures("reports")
def test_the_report_names_calls_and_no_commands_for_such_images(tmp_path):
    run = openjepa.pretrain(images(), out=tmp_path / "run", **TINY)
    page = (run / "report.html").read_text()
    assert "openjepa.pretrain(images, out=&#39;run-again&#39;" in page and "openjepa pretrain images" not in page
    assert page.count("data:image/") > 6  # the pictures of pretrain's own report
    openjepa.report(run)
    assert "data=images)" in (run / "report.html").read_text()
    assert json.loads((run / "config.json").read_text())["from_python"] is True


def test_vectors_and_records_are_those_of_files(run, tmp_path):
    labelled = openjepa.as_dataset(images(), labels=["a", "b"] * 16, name="cells")
    openjepa.embed(run, labelled, out=tmp_path / "v.parquet", precision="float32")
    found = pq.read_table(tmp_path / "v.parquet")
    vectors = np.stack(found["vector"].to_numpy())
    np.testing.assert_allclose(vectors, openjepa.load_encoder(run).embed(images()).numpy(), atol=1e-5)
    records = openjepa.evaluate([run], labelled, tasks="knn", workers=0, save_head=tmp_path / "head")
    assert {record["data"] for record in records} == {"cells"}
    openjepa.predict(tmp_path / "head", images(4, seed=2), out=tmp_path / "p.csv")
    assert len((tmp_path / "p.csv").read_text().splitlines()) == 5


def test_the_example_of_the_page_on_data_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    example = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "data.md").read_text(), re.DOTALL)[1]
    exec(example, {"images": images(), "kinds": ["a", "b"] * 16})
    assert (tmp_path / "runs" / "cells" / "evaluation.json").is_file()
