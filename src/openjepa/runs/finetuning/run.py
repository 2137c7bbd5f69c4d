"""One fine-tuning on disk: steps, validations, log and checkpoints; resumable to the bit, stopped early."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from openjepa.data.batches import Batches, load_batches
from openjepa.errors import UsageError
from openjepa.evaluation.finetuning.scores import Scores
from openjepa.evaluation.finetuning.tuner import Tuner
from openjepa.training.checkpoint import (
    DamagedCheckpoint,
    checkpoint_path,
    checkpoint_steps,
    load_checkpoint,
    load_newest,
    retain,
    save_checkpoint,
)
from openjepa.training.loop import Diverged, Interrupted, TooManySkipped
from openjepa.training.monitoring.run_log import RunLog
from openjepa.training.optimizer import load_scale, scale_tensors
from openjepa.training.signals import Stop, stop_on_signals
from openjepa.training.state import check_shapes, load_optimizer, optimizer_shapes, optimizer_tensors
from openjepa.training.timing import Stopwatch, Waiting

LOGGED = 10  # steps between two lines of the log
BEST = "validation"
Report = Callable[[dict, Scores | None], None]


@dataclass
class TuningRun:
    """A fine-tuning in `folder`, a pure function of the tuner's initial state, the batches and the targets.

    targets   of all images of the batches' data set: int64 [n] or float32 [n, C]
    validate  scores of the tuner as it is, every `every` steps
    patience  validations without improvement after which it stops; 0: never
    minutes   between two checkpoints
    `done` steps have been taken; `best` are the merit of the best validation and its step.
    """

    folder: Path
    tuner: Tuner
    batches: Batches
    targets: Tensor
    validate: Callable[[], Scores]
    every: int
    patience: int
    workers: int = 2
    max_skipped: int = 0
    minutes: float = 5.0
    done: int = field(default=0, init=False)
    best: tuple[float, int] = field(default=(-math.inf, 0), init=False)
    skipped: dict[str, str] = field(default_factory=dict, init=False)
    _saved: int = field(default=0, init=False)
    _saved_at: float = field(default_factory=time.monotonic, init=False)

    @property
    def steps(self) -> int:
        return self.tuner.plan.steps

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def stopped_early(self) -> bool:
        """Whether the last validations have not improved."""
        return bool(self.patience) and (self.done - self.best[1]) // self.every >= self.patience

    def resume(self) -> list[str]:
        """Restore the newest sound checkpoint; returns what is wrong with newer ones. Raises DamagedCheckpoint."""
        tensors, state, complaints = load_newest(self.checkpoints)
        self._load(tensors)
        self.done, self.skipped = state.step, dict(state.skipped)
        self.best = state.best.get(BEST, self.best)
        return complaints

    def load_best(self) -> list[str]:
        """Take the weights of the best validation; lines where they are lost, and those of the last step remain."""
        if self.best[1] == self.done:
            return []
        try:
            self._load(load_checkpoint(checkpoint_path(self.checkpoints, self.best[1]))[0])
        except DamagedCheckpoint as error:
            return [f"the best weights are lost, those of step {self.done:,} are kept: {error}"]
        return []

    def _load(self, tensors: dict[str, Tensor]) -> None:
        optimizer = self.tuner.optimizer
        try:
            own = {name: t.shape for name, t in (self._weights() | scale_tensors(self.tuner.scaler)).items()}
            check_shapes(tensors, own | optimizer_shapes(optimizer, tensors))
            for name, module in self._modules().items():
                start = f"{name}."
                module.load_state_dict({key[len(start) :]: t for key, t in tensors.items() if key.startswith(start)})
            load_optimizer(optimizer, tensors)
            load_scale(self.tuner.scaler, tensors)
        except (RuntimeError, LookupError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise DamagedCheckpoint(f"{self.checkpoints} is of another run ({reason})") from error

    def _modules(self) -> dict[str, nn.Module]:
        return {"network": self.tuner.network, "head": self.tuner.head}

    def _weights(self) -> dict[str, Tensor]:
        modules = self._modules().items()
        return {f"{name}.{key}": t for name, module in modules for key, t in module.state_dict().items()}

    def train(self, on_record: Report) -> None:
        """Take the remaining steps. Raises Interrupted after Ctrl-C, UsageError if loss, disk or images fail."""
        try:
            with contextlib.closing(RunLog(self.folder, self.done)) as log, stop_on_signals() as stop:
                self._loop(log, on_record, stop)
        except OSError as error:
            any_kept = bool(checkpoint_steps(self.checkpoints))
            kept = "the last checkpoint is intact" if any_kept else "there is no checkpoint yet"
            raise UsageError(f"cannot write {self.folder}: {error}; {kept}: make room, then use --resume") from error

    def _loop(self, log: RunLog, on_record: Report, stop: Stop) -> None:
        self._saved, self._saved_at = self.done, time.monotonic()
        losses: list[Tensor] = []
        waiting = Waiting(self._batches())
        watch = Stopwatch(self.tuner.encoder.device, waiting)
        for step, batch in enumerate(waiting, self.done):
            losses.append(self.tuner.step(step, batch, self.targets[batch.indices]))
            self.done, self.skipped = step + 1, self.skipped | dict(batch.skipped)
            due = self.done % self.every == 0 or self.done == self.steps
            if due or self.done % LOGGED == 0:
                record, losses = self._record(step, losses, watch), []
                scores = self._validated() if due else None
                record |= scores.record() if scores else {}
                log.add(record)
                on_record(record, scores)
                watch.restart()
            self._save_or_stop(stop, watch)
            if self.stopped_early:
                break

    def _batches(self) -> Iterator:
        stop = self.done if self.stopped_early else self.steps
        return load_batches(self.batches, self.done, stop, self.workers, self.tuner.encoder.device)

    def _record(self, step: int, losses: list[Tensor], watch: Stopwatch) -> dict:
        loss = float(torch.stack(losses).mean())
        if not math.isfinite(loss):
            raise Diverged(f"the loss is {loss} at step {self.done:,}: lower --lr and start again")
        rate = len(losses) * self.batches.batch_size / watch.seconds
        waited = watch.waited / watch.seconds
        lr = self.tuner.plan.lr * self.tuner.plan.factor(step)
        return {"step": self.done, "loss": loss, "lr": lr, "images_per_second": rate, "input_wait": waited}

    def _validated(self) -> Scores:
        scores = self.validate()
        if not math.isfinite(scores.merit) or not math.isfinite(scores.loss):
            raise Diverged(f"the outputs are not finite at step {self.done:,}: lower --lr and start again")
        if scores.merit > self.best[0]:
            self.best = scores.merit, self.done
        return scores

    def _save_or_stop(self, stop: Stop, watch: Stopwatch) -> None:
        late = time.monotonic() - self._saved_at >= 60 * self.minutes
        ended = self.done == self.steps or self.stopped_early
        failed = len(self.skipped) > self.max_skipped
        if late or ended or failed or stop.asked or self.best[1] == self.done:
            with watch.paused():
                self.save()
        if failed:
            path, reason = next(iter(self.skipped.items()))
            raise TooManySkipped(
                f"stopped after step {self.done:,}: {len(self.skipped):,} images cannot be read ({path}: {reason}, "
                "...), more than --max-skipped allows: repair them and continue with --resume, or also give more"
            )
        if stop.asked and not ended:
            raise Interrupted(f"stopped after step {self.done:,} of {self.steps:,}")

    def save(self) -> None:
        """Write a checkpoint, all or nothing; the last two and that of the best validation stay. Raises OSError."""
        if self._saved == self.done:
            return
        tensors = self._weights() | optimizer_tensors(self.tuner.optimizer) | scale_tensors(self.tuner.scaler)
        best = {BEST: self.best} if self.best[1] else {}
        state = {"best": best, "skipped": self.skipped, "untrained": {}}
        save_checkpoint(self.checkpoints, self.done, {name: t.cpu() for name, t in tensors.items()}, state)
        retain(self.checkpoints, {self.best[1]}, done=self.done)
        self._saved, self._saved_at = self.done, time.monotonic()
