"""The result of pretrain: a path that can be asked for its encoder, its log and its report, and continued."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

import openjepa
from openjepa.errors import UsageError
from openjepa.training.monitoring.metrics_log import read_metrics

TINY = {"batch_size": 8, "image_size": 16, "patch_size": 4, "device": "cpu", "workers": 0, "steps": 6, "log_every": 1}


def images(count=32, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (20, 20, 3), dtype=np.uint8) for _ in range(count)]


class StopAt(openjepa.Callback):
    def __init__(self, step):
        self.last = step

    def on_step(self, step, loss):
        if step == self.last:
            raise openjepa.StopTraining("looked enough")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return openjepa.pretrain(images(), out=tmp_path_factory.mktemp("run") / "run", **TINY)


def test_a_run_is_a_path(run, tmp_path):
    folder = run.folder
    assert Path(run) == folder and os.fspath(run) == str(run) == str(folder) and run / "encoder" == folder / "encoder"
    assert openjepa.load_encoder(run).name == str(folder) and read_metrics(run) == read_metrics(folder)
    records = openjepa.evaluate(run, "scenes:60", tasks="knn", workers=0, cache=tmp_path)
    assert str(folder) in {record["model"] for record in records} and (run / "evaluation.json").is_file()


def test_what_a_run_says_of_itself(run):
    assert (run.done, run.steps, run.finished) == (6, 6, True)
    last = read_metrics(run)[-1]
    assert (run.status, run.verdict) == (last["status"], last["verdict"]) and run.status in repr(run)
    assert dataclasses.asdict(run.config)["image_size"] == "16"
    assert repr(run).endswith(f"run', step 6 of 6, {run.status})")


def test_metrics_are_a_table_of_the_log(run):
    table, records = run.metrics(), read_metrics(run)
    assert isinstance(table, pa.Table) and table["step"].to_pylist() == list(range(7))
    assert table.schema.field("step").type == pa.int64() and table.schema.field("verdict").type == pa.string()
    assert table["loss"].to_pylist() == [record.get("loss") for record in records] and table["loss"][0].as_py() is None
    assert {str(table.schema.field(name).type) for name in table.column_names} == {"int64", "string", "double"}


def test_the_encoder_and_the_report(run):
    whole = images(4, seed=3)
    assert run.encoder().embed(whole).equal(openjepa.load_encoder(run).embed(whole))
    assert not run.encoder("context").embed(whole).equal(run.encoder().embed(whole))
    (run / "report.html").unlink(missing_ok=True)
    assert run.report() == run / "report.html"
    assert (run / "report.html").read_text().count("data:image/") > 6  # the images are known


def test_a_callback_stops_a_run_and_it_resumes_bit_for_bit(run, tmp_path, capsys):
    stopped = openjepa.pretrain(images(), out=tmp_path / "run", callbacks=[StopAt(3)], **TINY)
    assert (stopped.done, stopped.finished) == (3, False)
    said = " ".join(capsys.readouterr().out.split())
    assert "stopped by StopAt: looked enough, after step 3 of 6. Continue with: openjepa.pretrain(images," in said
    looked = stopped.encoder().embed(images(4))
    assert looked.equal(stopped.encoder(step=3).embed(images(4)))
    resumed = stopped.resume(workers=1)
    assert resumed.finished and resumed.done == 6
    assert (resumed / "encoder/model.safetensors").read_bytes() == (run / "encoder/model.safetensors").read_bytes()
    assert not looked.equal(resumed.encoder().embed(images(4)))
    assert resumed.metrics()["loss"].equals(run.metrics()["loss"])


def test_a_run_that_is_opened_again_needs_its_images_to_go_on(run, tmp_path):
    openjepa.pretrain(images(), out=tmp_path / "run", callbacks=[StopAt(2)], **TINY)
    opened = openjepa.open_run(tmp_path / "run")
    assert (opened.done, opened.steps) == (2, 6)
    with pytest.raises(UsageError, match=r"give them, as run\.resume\(images\)"):
        opened.resume()
    with pytest.raises(UsageError, match="holds other images"):
        opened.resume(images(seed=1))
    again = opened.resume(images(), callbacks=[StopAt(4)])
    assert again.done == 4
    weights = [(each / "encoder/model.safetensors").read_bytes() for each in (again.resume(), run)]
    assert weights[0] == weights[1]


def test_what_is_no_run_is_not_opened(tmp_path, run):
    for folder, why in ((tmp_path / "none", "does not exist"), (tmp_path, "is no run"), (run / "encoder", "is no run")):
        with pytest.raises(UsageError, match=why):
            openjepa.open_run(folder)
        assert repr(openjepa.Run(folder)) == f"Run({str(folder)!r})"


def test_the_command_line_has_no_callbacks(capsys):
    from openjepa.cli import parse

    parse(["pretrain", "--help"])
    assert "callback" not in capsys.readouterr().out.lower()


def test_deterministic_operations_are_those_of_the_resumed_run_too_and_end_with_it(photos, tmp_path):
    """On a GPU a run that is resumed without them would differ; here it is whether they are asked for."""
    chosen = []

    class Watch(openjepa.Callback):
        def on_step(self, step, loss):
            chosen.append(torch.are_deterministic_algorithms_enabled())
            if step == 2 and len(chosen) == 2:
                raise openjepa.StopTraining

    settings = {"image_size": 16, "batch_size": 5, "workers": 0, "device": "cpu", "precision": "float32"}
    openjepa.pretrain(str(photos), out=tmp_path / "run", steps=3, deterministic=True, callbacks=[Watch()], **settings)
    openjepa.pretrain(str(photos), out=tmp_path / "run", resume=True, callbacks=[Watch()])
    assert chosen == [True] * 3 and not torch.are_deterministic_algorithms_enabled()
