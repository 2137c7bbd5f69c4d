"""Callbacks follow a run, stop it in order, and cannot spoil it; all processes end at the same step."""

import pytest
import torch
from support.photos import draw_photos
from support.processes import small_run, together

from openjepa.errors import UsageError
from openjepa.training.callbacks import Callback, CallbackFailed, Callbacks, StopTraining
from openjepa.training.checkpoint import checkpoint_steps
from openjepa.training.monitoring.metrics_log import read_metrics
from openjepa.training.state import run_tensors


class Follower(Callback):
    """Writes down every call."""

    def __init__(self):
        self.calls, self.losses = [], []

    def on_start(self, run):
        self.calls.append(("start", run.step, run.steps, run.settings["batch_size"]))

    def on_step(self, step, loss):
        assert isinstance(loss, torch.Tensor) and loss.shape == () and not loss.requires_grad
        self.losses.append(float(loss))
        self.calls.append(("step", step))

    def on_record(self, record):
        self.calls.append(("record", record["step"]))
        record.clear()  # is a copy

    def on_checkpoint(self, step, path):
        assert (path / "state.safetensors").is_file()
        self.calls.append(("checkpoint", step))

    def on_end(self):
        self.calls.append(("end",))


class At(Callback):
    """Calls `act` at a step, in one of the methods."""

    def __init__(self, method, step, act):
        self.step, self.act = step, act
        setattr(self, method, self._check)

    def _check(self, first, *_):
        step = first if isinstance(first, int) else first["step"] if isinstance(first, dict) else first.step
        if step == self.step:
            self.act()


def stop():
    raise StopTraining("enough")


def fail():
    raise OSError("no such server")  # as a full disk raises too


def train(photos, out, *callbacks, resume=False, **changes):
    run = small_run(photos, out, steps=6, keep_every=2, **changes)
    if resume:
        run.resume()
    run.train(lambda record: None, Callbacks(callbacks))
    return run


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return draw_photos(tmp_path_factory.mktemp("photos") / "photos")


@pytest.fixture(scope="module")
def whole(photos, tmp_path_factory):
    """The run without callbacks."""
    return train(photos, tmp_path_factory.mktemp("whole") / "run")


def same(a, b):
    return all(torch.equal(value, run_tensors(b.stepper)[name]) for name, value in run_tensors(a.stepper).items())


def test_what_a_callback_is_told_and_that_it_changes_nothing(photos, whole, tmp_path):
    followed = Follower()
    told = train(photos, tmp_path / "told", followed)
    steps = [("step", step) for step in range(1, 7)]
    assert [call for call in followed.calls if call[0] == "step"] == steps
    assert followed.calls[:3] == [("start", 0, 6, 5), ("record", 0), ("step", 1)] and followed.calls[-1] == ("end",)
    assert {("checkpoint", 2), ("checkpoint", 4), ("checkpoint", 6)} <= set(followed.calls)
    records = read_metrics(told.folder)
    assert [("record", record["step"]) for record in records] == [c for c in followed.calls if c[0] == "record"]
    assert [record["loss"] for record in records[1:]] == pytest.approx(followed.losses)
    assert same(whole, told) and told.stopped_by == ""


@pytest.mark.parametrize("method", ["on_step", "on_record", "on_checkpoint"])
def test_a_stopped_run_resumes_bit_for_bit(photos, whole, tmp_path, method):
    step = 4 if method == "on_checkpoint" else 3
    stopper, after = At(method, step, stop), Follower()
    run = train(photos, tmp_path / "run", stopper, after)
    last = step + (method == "on_checkpoint")  # a checkpoint is written after the step
    assert run.done == last and checkpoint_steps(run.checkpoints)[-1] == last
    assert run.stopped_by == "At: enough" and after.calls[-1] == ("end",) and ("step", last) in after.calls
    assert same(train(photos, tmp_path / "run", resume=True), whole)


@pytest.mark.parametrize("method", ["on_start", "on_record"])
def test_a_run_can_be_stopped_before_its_first_step(photos, tmp_path, method):
    run = train(photos, tmp_path / "run", At(method, 0, stop))
    assert run.done == 0 and run.stopped_by == "At: enough"


def test_to_stop_at_the_last_step_is_to_finish(photos, tmp_path):
    assert train(photos, tmp_path / "run", At("on_step", 6, stop)).stopped_by == ""


@pytest.mark.parametrize(("method", "step"), [("on_step", 3), ("on_record", 5), ("on_checkpoint", 6)])
def test_a_callback_that_fails_is_named_and_leaves_a_checkpoint(photos, whole, tmp_path, method, step):
    after = Follower()
    with pytest.raises(CallbackFailed, match=rf"callback At\.{method} raised OSError: no such server") as caught:
        train(photos, tmp_path / "run", At(method, step, fail), after)
    assert isinstance(caught.value.__cause__, OSError) and after.calls[-1] == ("end",)
    assert checkpoint_steps(tmp_path / "run" / "checkpoints")[-1] == step
    assert same(train(photos, tmp_path / "run", resume=True), whole)


def test_on_end_is_called_whatever_happens(photos, tmp_path, monkeypatch):
    run, follower = small_run(photos, tmp_path / "run", steps=6), Follower()
    monkeypatch.setattr(run.stepper.model, "after_step", lambda schedule: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run.train(lambda record: None, Callbacks([follower, At("on_step", 1, fail)]))
    assert follower.calls[-1] == ("end",)


@pytest.mark.parametrize(
    ("given", "why"), [(Follower, "give an instance of a class derived from"), (print, "give a class derived from")]
)
def test_what_is_no_callback_is_refused(given, why):
    with pytest.raises(UsageError, match=why):
        Callbacks([given])


def test_rank_zero_alone_is_told_and_all_stop_together(photos, tmp_path):
    def one_rank():
        follower = Follower()
        run = train(photos, tmp_path / "two", follower, At("on_step", 3, stop))
        return run.done, run.stopped_by, len(follower.calls) > 0

    assert together(2, one_rank) == [(3, "At: enough", True), (3, "At: enough", False)]

    def failing_rank():
        with pytest.raises(CallbackFailed, match=r"At\.on_record raised OSError"):
            train(photos, tmp_path / "failed", At("on_record", 2, fail))
        return checkpoint_steps(tmp_path / "failed" / "checkpoints")

    assert together(2, failing_rank) == [[2], [2]]
