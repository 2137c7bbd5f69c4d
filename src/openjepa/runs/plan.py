"""The plan that a person reads before the first step."""

import math
import os

from openjepa.config import Config, seconds
from openjepa.console import duration
from openjepa.data.batches import Batches
from openjepa.errors import UsageError
from openjepa.runs.build_training import schedule_of
from openjepa.training.schedules import ema_half_life
from openjepa.training.step import Stepper
from openjepa.training.timing import Cost, Speed

OVERHEAD = 1.05  # monitors, probes and checkpoints, as a share of the steps' own time
HALF_LIVES = 5  # of the target encoder, after which its weights are 97 % the run's own
WAITED = 0.05  # share of a step, from which its input is worth a word
ALONE = 0.25  # the same without workers: on few cores they would take more from the steps than they spare them


def resolve_steps(config: Config, images: int, step_seconds: float) -> int:
    """The length of the run in steps: as many as asked for, and no more than fit into --time."""
    asked = [config.steps] if config.steps else []
    if config.epochs:
        asked.append(max(1, round(config.epochs * images / config.batch_size)))
    if config.time:
        asked.append(max(1, int(seconds(config.time) / (step_seconds * OVERHEAD))))
    if not asked:
        raise UsageError("a run needs a length: give --time 10m, --epochs 100 or --steps 10000")
    return min(asked)


def plan_lines(config: Config, stepper: Stepper, batches: Batches, cost: Cost) -> list[str]:
    """Images, model, steps, EMA half-life against run length, expected time and memory, in a few lines."""
    steps, model, masks = stepper.schedule.steps, stepper.model, batches.masks
    millions = [sum(p.numel() for p in part.parameters()) / 1e6 for part in (model.context_encoder, model.predictor)]
    epochs = steps * config.batch_size / len(batches.dataset)
    rows, columns = config.grid_size
    precision = str(stepper.precision).removeprefix("torch.")
    return [
        "plan",
        f"  {config.model_name} {millions[0]:.1f} M, predictor {millions[1]:.2f} M, on {stepper.device} in {precision}",
        f"  {config.image_size} px, {rows}x{columns} patches of {config.patch_size} px: "
        f"context {masks.context_length}, {masks.num_targets} target block{'s' * (masks.num_targets != 1)} "
        f"({masks.name})",
        f"  {steps:,} steps of {config.batch_size} images: {epochs:.1f} epochs of {len(batches.dataset):,} images",
        *ema_lines(config, steps),
        f"  about {duration(steps * cost.step_seconds * OVERHEAD)} at {config.batch_size / cost.step_seconds:,.0f} "
        f"images/s, {cost.memory / 2**30:.1f} GiB of memory",
        f"  {limit(config, cost)}",
    ]


def ema_lines(config: Config, steps: int) -> list[str]:
    """The target encoder's half-life against the length of the run, and a warning where the run ends too early."""
    momentum = schedule_of(config, steps).ema_momentum[0]
    half_life = ema_half_life(momentum)
    if config.method == "mae":
        return []
    if not 0 < half_life < math.inf:
        return [f"  EMA momentum {momentum:g}"]
    lines = [f"  EMA half-life {half_life:,.0f} steps at the start, {steps / half_life:,.0f} half-lives in the run"]
    if half_life > steps / HALF_LIVES and not config.init:
        faster = ", or give --ema-momentum 0.99 1" * (momentum > 0.99)
        lines.append(
            f"  warning: the run ends while its targets are still those of an untrained encoder: train for "
            f"{math.ceil(HALF_LIVES * half_life)} steps or more{faster}"
        )
    return lines


def limit(config: Config, cost: Cost) -> str:
    """Which of step and input holds the run back, and what can be done about the input."""
    fraction = cost.input_fraction
    if fraction < (WAITED if config.workers else ALONE):
        return f"the step limits the run: it waits for input {fraction:.1%} of the time"
    more = min(os.cpu_count() or 1, max(1, math.ceil(config.workers / (1 - min(fraction, 0.9)))))
    cure = f"give --workers {more}" if more > config.workers else "store the images smaller, or give it more cores"
    return f"the input limits the run: the step waits for it {fraction:.0%} of the time; {cure}"


def speed_lines(config: Config, stepper: Stepper, speed: Speed) -> list[str]:
    """What bench says."""
    precision = str(stepper.precision).removeprefix("torch.")
    workers = f"{config.workers} worker{'s' * (config.workers != 1)}" if config.workers else "no workers"
    return [
        f"{config.model}, {config.image_size} px, patches of {config.patch_size} px, batch {config.batch_size}, "
        f"on {stepper.device} in {precision}",
        f"  step alone   {speed.step_rate:10,.1f} images/s, {speed.fraction_of_peak:.0%} of the "
        f"{speed.peak / 1e12:.3g} TFLOP/s that {precision} products reach here",
        f"  input alone  {speed.input_rate:10,.1f} images/s with {workers}",
        f"  together     {speed.rate:10,.1f} images/s, {speed.together.memory / 2**30:.1f} GiB of memory",
        limit(config, speed.together),
    ]
