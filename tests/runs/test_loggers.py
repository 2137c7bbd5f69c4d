"""Loggers go on with a resumed run, fail before training or not at all, and are told the numbers of metrics.jsonl."""

import json
from typing import ClassVar

import pytest
from support.photos import draw_photos

import openjepa
from openjepa.errors import UsageError
from openjepa.runs import loggers
from openjepa.runs.loggers import Logger

HOW = {"recipe": "laptop", "image_size": "16", "batch_size": 8, "workers": 0, "log_every": 1}
HOW |= {"device": "cpu", "precision": "float32"}


class Kept(Logger):
    """A service that keeps what it is told, by the name of the run."""

    name = "wandb"
    logs: ClassVar[dict] = {}
    full = 10**6

    def _open(self, id, folder, settings):
        assert settings["batch_size"] == "8"
        self.log = self.logs.setdefault(id or f"run-{len(self.logs)}", [])
        return next(name for name, log in self.logs.items() if log is self.log)

    def _log(self, step, numbers):
        if step >= self.full:
            raise OSError("no room on the server\nand more")
        self.log.append({"step": step, **numbers})

    def _close(self, finished):
        self.log.append("finished" if finished else "stopped")


class Second(Kept):
    name = "mlflow"

    def _open(self, id, folder, settings):
        raise ValueError("no API key")


@pytest.fixture
def kept(monkeypatch):
    monkeypatch.setattr(Kept, "logs", {})
    monkeypatch.setitem(loggers.LOGGERS, "wandb", Kept)
    monkeypatch.setattr(loggers, "require", lambda module, extra: None)
    return Kept


def numbers(run):
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [{name: float(v) for name, v in line.items() if isinstance(v, int | float)} for line in lines]


def test_a_resumed_run_has_one_log_with_all_numbers(kept, tmp_path):
    photos, out = draw_photos(tmp_path / "photos"), tmp_path / "run"
    openjepa.pretrain(photos, out=out, steps=2, log_to="wandb,wandb", **HOW)
    openjepa.pretrain(photos, out=out, steps=4, resume=True, log_to="wandb")
    (log,) = kept.logs.values()
    assert [line for line in log if line != "finished"] == numbers(out)
    assert log[-1] == "finished" and log.count("finished") == 2
    (out / "loggers.json").write_text('{"wandb": "../x"}')
    with pytest.raises(UsageError, match=r"loggers\.json is damaged: .*delete it to begin new logs"):
        openjepa.pretrain(photos, out=out, steps=5, resume=True, log_to="wandb")


def test_one_that_fails_later_is_left_out_and_named(kept, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(kept, "full", 2)
    openjepa.pretrain(draw_photos(tmp_path / "photos"), out=tmp_path / "run", steps=3, log_to="wandb", **HOW)
    assert [line["step"] for line in kept.logs["run-0"]] == [0, 1]
    said = capsys.readouterr().out
    assert said.count("wandb: no room on the server; the run goes on without it") == 1


def test_what_cannot_be_logged_to_is_refused_before_a_step(kept, tmp_path, monkeypatch):
    photos = draw_photos(tmp_path / "photos")
    with pytest.raises(UsageError, match=r"--log-to wand is not known: known are wandb, mlflow; did you mean wandb"):
        openjepa.pretrain(photos, out=tmp_path / "a", steps=1, log_to="wand", **HOW)

    monkeypatch.setitem(loggers.LOGGERS, "mlflow", Second)
    with pytest.raises(UsageError, match=r"^--log-to mlflow: no API key: correct that and go on with --resume, or"):
        openjepa.pretrain(photos, out=tmp_path / "a", steps=1, log_to="wandb,mlflow", **HOW)
    assert not (tmp_path / "a" / "metrics.jsonl").exists() and kept.logs["run-0"] == ["stopped"]
    openjepa.pretrain(photos, out=tmp_path / "a", resume=True, log_to="wandb")
    assert kept.logs["run-0"][-1] == "finished"


def test_a_run_that_a_callback_stops_is_not_logged_as_finished(kept, tmp_path):
    class Enough(openjepa.Callback):
        def on_step(self, step, loss):
            raise openjepa.StopTraining("enough")

    photos = draw_photos(tmp_path / "photos")
    openjepa.pretrain(photos, out=tmp_path / "a", steps=3, log_to="wandb", callbacks=[Enough()], **HOW)
    assert kept.logs["run-0"][-1] == "stopped"
