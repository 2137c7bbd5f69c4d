"""One training run on disk: steps, monitors, log and checkpoints, resumable to the bit."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from openjepa.data.batches import Batches, load_batches
from openjepa.errors import UsageError, shown
from openjepa.models.protocol import evaluating
from openjepa.renamed import current_names
from openjepa.training.callbacks import CallbackFailed, Callbacks, Started
from openjepa.training.checkpoint import (
    SELECTED_BY,
    DamagedCheckpoint,
    State,
    checkpoint_path,
    checkpoint_steps,
    load_newest,
    retain,
    save_checkpoint,
)
from openjepa.training.distributed import anyone, everyones, is_sharded, mean_over_ranks, on_rank_zero, rank
from openjepa.training.monitoring.metrics_log import current_metrics
from openjepa.training.monitoring.monitors import Monitor
from openjepa.training.monitoring.online_probe import OnlineProbe
from openjepa.training.monitoring.probe_gain import probe_remark
from openjepa.training.monitoring.run_log import RunLog
from openjepa.training.monitoring.verdict import NONE_YET, Extremes, verdict
from openjepa.training.monitoring_intervals import Intervals
from openjepa.training.signals import Stop, stop_on_signals
from openjepa.training.state import load_tensors, run_tensors
from openjepa.training.step import Stepper
from openjepa.training.timing import Stopwatch, Waiting

Report = Callable[[dict], None]
SLOWER = "lower --lr or use --clip-grad 1 and start again"


class Diverged(UsageError):
    """The loss is not finite."""


class TooManySkipped(UsageError):
    """More images than allowed could not be read."""


def check_loss(loss: float, done: int) -> None:
    if not math.isfinite(loss):
        raise Diverged(f"the loss is {loss} at step {done:,}: {SLOWER}")


class Interrupted(KeyboardInterrupt):
    """The run was asked to stop and has; its last checkpoint holds every step taken."""


def read_newest(checkpoints: Path, tensors: dict[str, Tensor]) -> tuple[State, list[str]]:
    """The state of the newest sound checkpoint and what is wrong with newer ones; puts its tensors into `tensors`."""
    read, state, complaints = load_newest(checkpoints)
    tensors.update(read)
    return state, complaints


@dataclass
class TrainingRun:
    """A run in `folder`. Training it is a pure function of the stepper's initial state, the batches and the schedule.

    `imported`: it started from trained weights. `max_skipped` images may be unreadable (None: any number).
    `settings` are what shapes the run, by name: a checkpoint of a run with others is refused. `earlier` are (step,
    settings) in which checkpoints up to that step differ, where the length or the images were changed then.
    `done` steps have been taken; `best` maps a monitor to (value, step), `skipped` an image's path to the reason;
    `untrained` are monitors and probes at step 0, `extremes` those monitors since then. Several processes take its
    steps together; rank 0 alone logs and writes.
    """

    folder: Path
    stepper: Stepper
    batches: Batches
    monitor: Monitor
    intervals: Intervals
    probe: OnlineProbe | None = None
    workers: int = 2
    imported: bool = False
    max_skipped: int | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    earlier: tuple[tuple[int, dict[str, Any]], ...] = ()
    done: int = field(default=0, init=False)
    best: dict[str, tuple[float, int]] = field(default_factory=dict, init=False)
    skipped: dict[str, str] = field(default_factory=dict, init=False)
    untrained: dict[str, float] = field(default_factory=dict, init=False)
    extremes: Extremes = field(default=NONE_YET, init=False)
    _callbacks: Callbacks = field(default_factory=Callbacks, init=False)
    _saved_step: int = field(default=0, init=False)
    _saved_at: float = field(default_factory=time.monotonic, init=False)

    @property
    def steps(self) -> int:
        return self.stepper.schedule.steps

    @property
    def _passes(self) -> float:
        """How often the whole run shows each image."""
        return self.steps * self.batches.batch_size / len(self.batches.dataset)

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    def resume(self) -> list[str]:
        """Restore the newest sound checkpoint; returns what is wrong with newer ones.

        Raises DamagedCheckpoint if none is sound.
        """
        tensors: dict[str, Tensor] = {}
        state, complaints = on_rank_zero(lambda: read_newest(self.checkpoints, tensors))
        self.restore(tensors, state)
        return complaints

    def restore(self, tensors: dict[str, Tensor], state: State) -> None:
        """Continue from a checkpoint; the tensors are needed on rank 0 only.

        Raises DamagedCheckpoint if it is of another run.
        """
        on_rank_zero(lambda: self._check_settings(state))
        try:
            load_tensors(self.stepper, tensors)
        except (RuntimeError, LookupError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise DamagedCheckpoint(f"{self.checkpoints} is of another run ({reason})") from error
        self.done, self.skipped, self.best = state.step, state.skipped, state.best
        self.untrained = current_metrics(state.untrained)
        self.extremes = Extremes(**state.extremes)

    def _check_settings(self, state: State) -> None:
        theirs, ours = current_names(state.settings), dict(self.settings)
        for until, settings in reversed(self.earlier):
            ours |= settings if state.step <= until else {}
        for name in ours.keys() & theirs.keys():
            if theirs[name] != ours[name]:
                differ = f"{name} {shown(theirs[name])}, not {shown(ours[name])}"
                raise DamagedCheckpoint(f"{self.checkpoints} is of another run ({differ})")

    def train(self, on_record: Report, callbacks: Callbacks | None = None) -> None:
        """Take all remaining steps, or those until a callback stops the run (`stopped_by`).

        Raises Interrupted after Ctrl-C, UsageError if the loss or the disk fails, CallbackFailed.
        """
        self._callbacks = callbacks if callbacks and rank() == 0 else Callbacks()
        try:
            with self._log(on_record) as report, stop_on_signals() as stop:
                self._callbacks.tell("on_start", self._about())
                if self.done == 0:
                    report({"step": 0, **self._measure(probe=True), **self._pixels()})
                self._loop(report, stop)
        except OSError as error:
            any_kept = bool(checkpoint_steps(self.checkpoints))
            kept = "the last checkpoint is intact" if any_kept else "there is no checkpoint yet"
            raise UsageError(f"cannot write {self.folder}: {error}; {kept}: make room, then use --resume") from error
        finally:
            self._callbacks.tell("on_end")
        self._check_callbacks()

    @property
    def stopped_by(self) -> str:
        """The callback that stopped the run before its last step, with its reason; "" if none did. A collective."""
        return on_rank_zero(lambda: self._callbacks.stopped if self.done < self.steps else "")

    def _about(self) -> Started:
        return Started(self.folder, self.done, self.steps, self.batches.batch_size, self.settings)

    @contextlib.contextmanager
    def _log(self, on_record: Report) -> Iterator[Report]:
        """On rank 0 records go to the log, to `on_record` and to callbacks; elsewhere they go nowhere."""
        logs: list[RunLog] = []
        on_rank_zero(lambda: logs.append(RunLog(self.folder, self.done)))

        def write(record: dict) -> None:
            logs[0].add(record)
            on_record(record)
            self._callbacks.tell("on_record", dict(record))

        try:
            yield lambda record: on_rank_zero(lambda: write(record))
        finally:
            for log in logs:
                log.close()

    def _loop(self, report: Report, stop: Stop) -> None:
        self._saved_step, self._saved_at = self.done, time.monotonic()
        losses: list[Tensor] = []
        waiting = Waiting(load_batches(self.batches, self.done, self.steps, self.workers, self.stepper.device))
        watch = Stopwatch(self.stepper.device, waiting)
        if self._save_or_stop(stop, watch):
            return
        for step, loss, norm, batch in self.stepper.run(self.done, waiting):
            self.done = step + 1
            losses.append(loss)
            self.skipped |= dict(batch.skipped)
            self._callbacks.tell("on_step", self.done, loss)
            if self.done % self.intervals.log == 0 or self._is_due(self.intervals.monitor):
                report(self._record(step, losses, norm, watch))
                losses = []
                watch.restart()
            if self._save_or_stop(stop, watch):
                return

    def _record(self, step: int, losses: list[Tensor], norm: Tensor, watch: Stopwatch) -> dict:
        loss = mean_over_ranks(torch.stack(losses).mean())
        on_rank_zero(lambda: check_loss(loss, self.done))
        record = {
            "step": self.done,
            "loss": loss,
            **self.stepper.schedule.at(step),
            **({"grad_norm": float(norm)} if math.isfinite(norm) else {}),  # a step that float16 skipped has none
            "images_per_second": len(losses) * self.batches.batch_size / watch.seconds,
            "input_wait": watch.waited / watch.seconds,
        }
        if self._is_due(self.intervals.monitor):
            record |= self._measure(probe=self._is_due(self.intervals.probe))
        return record

    def _save_or_stop(self, stop: Stop, watch: Stopwatch) -> bool:
        """Save where it is time to, or where the run ends here; gives whether a callback stops it."""
        told = self._callbacks
        late, asked, stopped, unread, failed = anyone(
            rank() == 0 and self._is_late(), stop.asked, bool(told.stopped), self._skips_too_many(), bool(told.failed)
        )
        if (late or asked or stopped or unread or failed or self._is_kept()) and self._saved_step != self.done:
            with watch.paused():
                self.save()
        if unread:
            raise TooManySkipped(self._what_is_skipped())
        if failed:
            self._check_callbacks()
        if asked and self.done < self.steps:
            raise Interrupted(f"stopped after step {self.done:,} of {self.steps:,}")
        return stopped

    def _check_callbacks(self) -> None:
        """Raise CallbackFailed on all ranks where a callback has raised an exception."""
        failed = on_rank_zero(lambda: self._callbacks.failed)
        if failed:
            raise CallbackFailed(f"callback {failed} (after step {self.done:,})") from self._callbacks.error

    def _is_due(self, every: int) -> bool:
        return self.done % every == 0 or self.done == self.steps

    def _measure(self, probe: bool) -> dict:
        """Monitors, verdict and, where labels exist and `probe` is set, the probes; keeps the best checkpoints."""
        measured = self._agree(lambda: self.monitor(self.stepper.model))
        if not all(map(math.isfinite, measured.values())):
            cure = SLOWER if self.done else "the weights of --init, or the images, hold too large numbers: give others"
            raise Diverged(f"the encoder's output is not finite at step {self.done:,}: {cure}")
        scores = self._probe() if probe else {}
        if self.done == 0:
            self.untrained = measured | scores
        progress, known = self.done / self.steps, self.settings | {"passes": self._passes}
        remark = self._remark(scores, known)
        said = verdict(measured, self.untrained, progress, self.imported, known, self.extremes, remark)
        record = {**measured, "status": said.status, "verdict": said.finding, "advice": said.advice, **scores}
        if self.done:
            self.extremes = self.extremes.after(measured)
        if probe and (self.done or self.imported):
            self._keep_best({k: v for k, v in (measured | scores).items() if k in SELECTED_BY})
        return record

    def _remark(self, scores: dict[str, float], known: dict[str, Any]) -> str:
        """What the probe says at the end of a run that started untrained; "" earlier, and without labels."""
        ends = self.done == self.steps and not self.imported
        return probe_remark(self.untrained, scores, self.probe.test_images, known) if ends and self.probe else ""

    def _probe(self) -> dict[str, float]:
        probe = self.probe
        return self._agree(lambda: probe(self.stepper.model.encoder)) if probe else {}

    def _pixels(self) -> dict[str, float]:
        return on_rank_zero(self.probe.pixels) if self.probe else {}

    def _agree(self, measure: Callable[[], dict[str, float]]) -> dict[str, float]:
        """What rank 0 measures; a model that is sharded can be measured by all processes only."""
        with evaluating(self.stepper.model):
            if not is_sharded(self.stepper.model):
                return on_rank_zero(measure)
            measured = measure()
            return on_rank_zero(lambda: measured)

    def _keep_best(self, scores: dict[str, float]) -> None:
        better = {name: value for name, value in scores.items() if value > self.best.get(name, (-1.0, 0))[0]}
        self.best |= {name: (value, self.done) for name, value in better.items()}
        if better:
            self.save()

    def _skips_too_many(self) -> bool:
        return self.max_skipped is not None and len(self.skipped) > self.max_skipped

    def _what_is_skipped(self) -> str:
        path, reason = next(iter(self.skipped.items()))
        return (
            f"stopped after step {self.done:,}: {len(self.skipped):,} of {len(self.batches.dataset):,} images cannot "
            f"be read ({path}: {reason}, ...), more than --max-skipped allows: repair them and continue with --resume, "
            "or also give a larger --max-skipped"
        )

    def _is_late(self) -> bool:
        return time.monotonic() - self._saved_at >= 60 * self.intervals.minutes

    def _is_kept(self) -> bool:
        return self._is_due(self.intervals.keep or self.steps)

    def save(self) -> None:
        """Checkpoint the run as it is; raises OSError if the disk does not take it, the last checkpoint intact."""
        tensors = run_tensors(self.stepper)
        for skipped in everyones(self.skipped):
            self.skipped |= skipped
        on_rank_zero(lambda: self._write(tensors))
        self._saved_step, self._saved_at = self.done, time.monotonic()
        self._callbacks.tell("on_checkpoint", self.done, checkpoint_path(self.checkpoints, self.done))

    def _write(self, tensors: dict[str, Tensor]) -> None:
        about = {"best": self.best, "skipped": self.skipped, "untrained": self.untrained}
        about |= {"extremes": self.extremes._asdict()}
        state = about | {"settings": self.settings}
        save_checkpoint(self.checkpoints, self.done, tensors, state)
        retain(self.checkpoints, {step for _, step in self.best.values()}, self.intervals.keep, done=self.done)
