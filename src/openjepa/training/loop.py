"""One training run on disk: steps, monitors, log and checkpoints, resumable to the bit."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from openjepa.data.batches import Batches, load_batches
from openjepa.errors import UsageError
from openjepa.training.checkpoint import DamagedCheckpoint, checkpoint_steps, load_newest, retain, save_checkpoint
from openjepa.training.distributed import anyone, everyones, is_sharded, mean_over_ranks, on_rank_zero, rank
from openjepa.training.monitoring.metrics_log import RunLog, current_metrics
from openjepa.training.monitoring.monitors import Monitor
from openjepa.training.monitoring.online_probe import OnlineProbe
from openjepa.training.monitoring.verdict import verdict
from openjepa.training.signals import Stop, stop_on_signals
from openjepa.training.state import load_tensors, run_tensors
from openjepa.training.step import Stepper
from openjepa.training.timing import Waiting

# Images between two looks, so that both together cost under 3 % of training (benchmarks/monitors.py). Shorter runs are
# looked at every eighth, so that a verdict comes by a quarter, and no more often than LEAST_IMAGES: 3 % for monitors.
MONITOR_IMAGES, PROBE_IMAGES, LEAST_IMAGES = 15_360, 51_200, 5_120


class Diverged(UsageError):
    """The loss is no number any more."""


class TooManySkipped(UsageError):
    """More images than allowed could not be read."""


def check_loss(loss: float, done: int) -> None:
    if not math.isfinite(loss):
        raise Diverged(f"the loss is {loss} at step {done:,}: lower --lr or use --clip-grad 1 and start again")


class Interrupted(KeyboardInterrupt):
    """The run was asked to stop and has; its last checkpoint holds every step taken."""


@dataclass
class Run:
    """A run in `folder`. Training it is a pure function of the stepper's initial state, the batches and the schedule.

    `log_every`, `checkpoint_minutes` and `keep_every` (0: keep none beside the last two and the best) change nothing
    about the result. `max_skipped` images may be unreadable (None: any number). `best` maps a monitor to (value, step).
    Several processes take its steps together; rank 0 alone measures, logs and writes.
    """

    folder: Path
    stepper: Stepper
    batches: Batches
    monitor: Monitor
    probe: OnlineProbe | None = None
    workers: int = 2
    log_every: int = 10
    checkpoint_minutes: float = 5.0
    keep_every: int = 0
    done: int = 0
    best: dict[str, tuple[float, int]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    untrained: dict[str, float] = field(default_factory=dict)
    imported: bool = False
    max_skipped: int | None = None

    @property
    def steps(self) -> int:
        return self.stepper.schedule.steps

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    def resume(self) -> list[str]:
        """Take up the newest sound checkpoint; returns what was wrong with newer ones, DamagedCheckpoint if none is."""
        tensors: dict[str, Tensor] = {}
        state, complaints = on_rank_zero(lambda: self._read_newest(tensors))
        try:
            load_tensors(self.stepper, tensors)
            self.done, self.skipped = state["step"], state["skipped"]
            self.untrained = current_metrics(state["untrained"])
            self.best = {name: tuple(pair) for name, pair in state["best"].items()}
        except (RuntimeError, LookupError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise DamagedCheckpoint(f"{self.checkpoints} is of another run ({reason})") from error
        return complaints

    def _read_newest(self, tensors: dict[str, Tensor]) -> tuple[dict, list[str]]:
        read, state, complaints = load_newest(self.checkpoints)
        tensors.update(read)
        return state, complaints

    def train(self, on_record: Callable[[dict], None]) -> None:
        """Take all remaining steps. Raises Interrupted after Ctrl-C, UsageError if the loss or the disk fails."""
        self.on_record = on_record
        try:
            with self._logging(), stop_on_signals() as stop:
                if self.done == 0:
                    self._report({"step": 0, **self._measure(probe=True), **self._pixels()})
                self._loop(stop)
        except OSError as error:
            any_kept = bool(checkpoint_steps(self.checkpoints))
            kept = "the last checkpoint is intact" if any_kept else "there is no checkpoint yet"
            raise UsageError(f"cannot write {self.folder}: {error}; {kept}: make room, then use --resume") from error

    @contextlib.contextmanager
    def _logging(self) -> Iterator[None]:
        logs: list[RunLog] = []
        on_rank_zero(lambda: logs.append(RunLog(self.folder, self.done)))
        self.log = logs[0] if logs else None
        try:
            yield
        finally:
            for log in logs:
                log.close()

    def _loop(self, stop: Stop) -> None:
        self._losses: list[Tensor] = []
        self._since = self._saved = time.monotonic()
        self._saved_step = self.done
        self._waiting = Waiting(load_batches(self.batches, self.done, self.steps, self.workers))
        for step, loss, norm, batch in self.stepper.run(self.done, self._waiting):
            self.done = step + 1
            self._losses.append(loss)
            self.skipped |= dict(batch.skipped)
            if self.done % self.log_every == 0 or self._is_due(self._monitor_every):
                self._report(self._record(step, norm))
            late, stopped, spoilt = anyone(rank() == 0 and self._is_late(), stop.asked, self._skips_too_many())
            if (late or stopped or spoilt or self._is_kept()) and self._saved_step != self.done:
                self.save()
            if spoilt:
                raise TooManySkipped(self._what_is_skipped())
            if stopped and self.done < self.steps:
                raise Interrupted(f"stopped after step {self.done:,} of {self.steps:,}")

    @property
    def _monitor_every(self) -> int:
        """Steps between two looks at the monitors: 8 in a run or, as far as they pay for themselves, up to 50."""
        usual, least = (math.ceil(images / self.batches.batch_size) for images in (MONITOR_IMAGES, LEAST_IMAGES))
        return min(max(usual, self.steps // 50), max(least, math.ceil(self.steps / 8)))

    @property
    def _probe_every(self) -> int:
        """Steps between two probes, every so many looks at the monitors."""
        wanted = max(math.ceil(PROBE_IMAGES / self.batches.batch_size), self.steps // 10)
        return math.ceil(wanted / self._monitor_every) * self._monitor_every

    def _is_due(self, every: int) -> bool:
        return self.done % every == 0 or self.done == self.steps

    def _record(self, step: int, norm: Tensor) -> dict:
        loss = mean_over_ranks(torch.stack(self._losses).mean())
        on_rank_zero(lambda: check_loss(loss, self.done))
        seconds = max(time.monotonic() - self._since, 1e-9)
        record = {
            "step": self.done,
            "loss": loss,
            **self.stepper.schedule.at(step),
            "grad_norm": float(norm),
            "images_per_second": len(self._losses) * self.batches.batch_size / seconds,
            "input_wait": self._waiting.seconds / seconds,
        }
        if self._is_due(self._monitor_every):
            record |= self._measure(probe=self._is_due(self._probe_every))
        self._losses, self._since, self._waiting.seconds = [], time.monotonic(), 0.0
        return record

    def _measure(self, probe: bool) -> dict:
        """Monitors, verdict and, where labels exist and `probe` is set, the probes; keeps the best checkpoints."""
        measured = self._agree(lambda: self.monitor(self.stepper.model))
        if self.done == 0:
            self.untrained = measured
        status, sentence = verdict(measured, self.untrained, self.done / self.steps, self.imported)
        record = {**measured, "status": status, "verdict": sentence}
        if probe:
            scores = self._agree(lambda: self.probe(self.stepper.model.target_encoder)) if self.probe else {}
            record |= scores
            if self.done or self.imported:
                self._keep_best({"rank": measured["rank"], **{k: v for k, v in scores.items() if k == "knn"}})
        return record

    def _pixels(self) -> dict[str, float]:
        return on_rank_zero(self.probe.pixels) if self.probe else {}

    def _agree(self, measure: Callable[[], dict[str, float]]) -> dict[str, float]:
        """What rank 0 measures; a model that is sharded can be measured by all processes only."""
        if not is_sharded(self.stepper.model):
            return on_rank_zero(measure)
        measured = measure()
        return on_rank_zero(lambda: measured)

    def _keep_best(self, scores: dict[str, float]) -> None:
        better = {name: value for name, value in scores.items() if value > self.best.get(name, (-1.0, 0))[0]}
        self.best |= {name: (value, self.done) for name, value in better.items()}
        if better:
            self.save()

    def _report(self, record: dict) -> None:
        on_rank_zero(lambda: self._tell(record))

    def _tell(self, record: dict) -> None:
        self.log.add(record)
        self.on_record(record)

    def _skips_too_many(self) -> bool:
        return self.max_skipped is not None and len(self.skipped) > self.max_skipped

    def _what_is_skipped(self) -> str:
        path, reason = next(iter(self.skipped.items()))
        return (
            f"stopped after step {self.done:,}: {len(self.skipped):,} of {len(self.batches.dataset):,} images cannot "
            f"be read ({path}: {reason}, ...), more than --max-skipped allows: mend them and go on with --resume, "
            "or also give a larger --max-skipped"
        )

    def _is_late(self) -> bool:
        return time.monotonic() - self._saved >= 60 * self.checkpoint_minutes

    def _is_kept(self) -> bool:
        return self.done == self.steps or bool(self.keep_every and self.done % self.keep_every == 0)

    def save(self) -> None:
        """Checkpoint the run as it is; raises OSError if the disk does not take it, the last checkpoint intact."""
        tensors = run_tensors(self.stepper)
        for skipped in everyones(self.skipped):
            self.skipped |= skipped
        on_rank_zero(lambda: self._write(tensors))
        self._saved, self._saved_step = time.monotonic(), self.done

    def _write(self, tensors: dict[str, Tensor]) -> None:
        state = {"best": self.best, "skipped": self.skipped, "untrained": self.untrained}
        save_checkpoint(self.checkpoints, self.done, tensors, state)
        retain(self.checkpoints, {step for _, step in self.best.values()}, self.keep_every, done=self.done)
