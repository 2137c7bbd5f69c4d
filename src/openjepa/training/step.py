"""One step: batch, loss, gradients, optimizer. Nothing here reads the clock, a file or the device's results."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from openjepa.data.batches import Batch
from openjepa.data.crops import standardise
from openjepa.methods.base import Inputs, Method
from openjepa.models.attention import attention_by
from openjepa.training import schedules
from openjepa.training.distributed import last_only, rank, whole, world_size
from openjepa.training.optimizer import set_schedule


@dataclass(frozen=True)
class Schedule:
    """Everything that changes with the step; `warmup` is a fraction of `steps`, pairs are values at start and end.

    A run whose length was changed at step `since` followed another schedule, `before`, up to there. From there on every
    value goes in a straight line, within `warmup` of the steps that are left, from where it was to the curve of a run
    that was planned with `steps` from the start, and follows that to its end.
    """

    steps: int
    lr: float
    warmup: float = 0.1
    lr_start: float = 0.0
    lr_end: float = 1e-6
    weight_decay: tuple[float, float] = (0.04, 0.4)
    ema_momentum: tuple[float, float] = (0.996, 1.0)
    before: "Schedule | None" = None
    since: int = 0

    def extended(self, since: int, steps: int) -> "Schedule":
        """This schedule up to step `since` (exclusive), and from there on one whose end is at `steps`."""
        return dataclasses.replace(self, steps=steps, before=self if since else None, since=since)

    @property
    def first_steps(self) -> int:
        """The length that the run was planned with when it was started."""
        return self.before.first_steps if self.before else self.steps

    @property
    def rise(self) -> int:
        """Steps in which the values go from those of the schedule before to this one's."""
        return max(1, round(self.warmup * (self.steps - self.since)))

    def at(self, step: int) -> dict[str, float]:
        """lr, weight_decay and ema_momentum of a step in [0, steps)."""
        if self.before and step < self.since:
            return self.before.at(step)
        planned, passed = self._planned(step), step + 1 - self.since
        if not self.before or passed >= self.rise:
            return planned
        last = self.before.at(self.since - 1)
        return {name: last[name] + (planned[name] - last[name]) * passed / self.rise for name in planned}

    def _planned(self, step: int) -> dict[str, float]:
        """The values of a run that has had this length from the start."""
        warmup = round(self.warmup * self.steps)
        return {
            "lr": schedules.learning_rate(step, self.steps, warmup, self.lr_start, self.lr, self.lr_end),
            "weight_decay": schedules.weight_decay(step, self.steps, *self.weight_decay),
            "ema_momentum": schedules.ema_momentum(step, self.steps, *self.ema_momentum),
        }


@dataclass(frozen=True)
class Stepper:
    """What a step changes: the networks of a method and the optimizer's state.

    mean, std   of each channel, in [0, 1] units
    clip_grad   largest norm of the gradients; 0 for no clipping
    frozen      fraction of the steps in which the context encoder stays as it is, so that a fresh predictor does not
                spoil trained weights
    accumulate  parts in which a batch is computed; their gradients add up to those of the batch
    forward     what to call for the loss in place of the model: DDP around it, or its CUDA graph
    scaler      of the loss, enabled in float16 alone
    attention   the kernel of attention; None for the one that PyTorch chooses
    seed        of PyTorch's random numbers in each step, for networks that draw some (dropout); None where none do
    """

    model: Method
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    mean: list[float]
    std: list[float]
    device: torch.device
    precision: torch.dtype = torch.bfloat16
    clip_grad: float = 0.0
    frozen: float = 0.0
    accumulate: int = 1
    forward: Callable[[Inputs], Tensor] | None = None
    scaler: torch.amp.GradScaler = field(default_factory=lambda: torch.amp.GradScaler("cpu", enabled=False))
    seed: int | None = None
    attention: str | None = None

    def __call__(self, step: int, batch: Batch) -> tuple[Tensor, Tensor]:
        """One update; returns the loss and the gradient norm, scalars on the device.

        Of several processes each returns the loss of its part of the batch, weighted so that their mean is the loss.
        """
        now = self.schedule.at(step)
        set_schedule(self.optimizer, now["lr"], now["weight_decay"])
        with self.random_numbers(step):
            loss = self.gradients(batch, step < round(self.frozen * self.schedule.first_steps))
        self.scaler.unscale_(self.optimizer)
        norm = self.clip()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.model.after_step(now)
        return loss, norm

    def gradients(self, batch: Batch, frozen: bool = False) -> Tensor:
        """Leave the gradients of the loss of the whole batch in the parameters; returns the loss."""
        encoder = self.model.context_encoder
        # Between processes every parameter that DDP or FSDP registered must get a gradient, also one that is not used.
        encoder.requires_grad_(not frozen or world_size() > 1)
        self.optimizer.zero_grad(set_to_none=True)
        parts = batch.split(self.accumulate)
        losses = [self._backward(part, part is parts[-1]) for part in parts]
        if frozen:
            encoder.zero_grad(set_to_none=True)
        return torch.stack(losses).sum()

    def _backward(self, part: Batch, last: bool) -> Tensor:
        weight = len(part.indices) * world_size() / part.total
        inputs, forward = self.prepare(part), self.forward or self.model
        with last_only(forward, last), attention_by(self.attention):  # also where blocks are computed again
            with self.autocast():
                loss = forward(inputs) * weight
            self.scaler.scale(loss).backward()
        return loss.detach()

    @contextlib.contextmanager
    def random_numbers(self, step: int) -> Iterator[None]:
        """Within this context PyTorch's random numbers are a function of seed, step and rank; then as they were."""
        if self.seed is None:
            yield
            return
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            drawn = np.random.SeedSequence([self.seed, step, rank()]).generate_state(1, np.uint64)
            torch.manual_seed(int(drawn[0]))
            yield

    def prepare(self, batch: Batch) -> Inputs:
        return prepare(batch, self.mean, self.std, self.device)

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32)

    def clip(self) -> Tensor:
        """Scale the gradients down to `clip_grad`; returns their norm before that, a scalar."""
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        return whole(torch.nn.utils.clip_grad_norm_(parameters, self.clip_grad or float("inf")))

    def run(self, start: int, batches: Iterable[Batch]) -> Iterator[tuple[int, Tensor, Tensor, Batch]]:
        """Take the steps from `start` on, one for each batch: (step, loss, gradient norm, batch)."""
        for step, batch in enumerate(batches, start):
            yield step, *self(step, batch), batch


def prepare(batch: Batch, mean: list[float], std: list[float], device: torch.device) -> Inputs:
    """A batch as a method takes it: on the device, its views standardised to float32."""
    at_once = device.type == "cuda"  # from page-locked memory; MPS could read what has been freed

    def standardised(views: Tensor) -> Tensor:
        return standardise(views.to(device, non_blocking=at_once), mean, std)

    inputs = Inputs(standardised(batch.views))
    if batch.small_views is not None:
        inputs = inputs._replace(small_views=standardised(batch.small_views))
    if batch.masks is None:
        return inputs
    context_ids, target_ids = (x.to(device, non_blocking=at_once) for x in batch.masks[:2])
    return inputs._replace(context_ids=context_ids, target_ids=target_ids)
