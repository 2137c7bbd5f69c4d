"""The length of a run in steps, and the plan that is printed before the first one."""

import math

import torch

from openjepa.config import Config, seconds, size_in_words, size_text
from openjepa.console import duration
from openjepa.data.batches import Batches
from openjepa.data.memory import ImagesInMemory
from openjepa.data.proportions import Sizes, seen_in_words, unseen
from openjepa.device import EMULATED, cores, times_slower
from openjepa.errors import UsageError
from openjepa.masking.samplers import targets_in_words
from openjepa.runs.images import size_for
from openjepa.runs.planning.workers import ALONE, workers_in_words
from openjepa.training.monitoring.advice import least_steps
from openjepa.training.monitoring_intervals import monitor_interval, probe_interval
from openjepa.training.schedules import ema_half_life, ema_range
from openjepa.training.step import Schedule, Stepper
from openjepa.training.timing import Cost, Speed

OVERHEAD = 1.05  # monitors, probes and checkpoints on a CPU, as a fraction of the steps' own time
WAITED = 0.05  # fraction of a step from which waiting for input limits the run
WORTH_SAYING = 0.01  # fraction of the pixels that another image size shows in addition
SHARED = 0.9  # fraction of the slower rate alone, below which step and input together slow each other


def schedule_of(config: Config, steps: int) -> Schedule:
    return Schedule(
        steps,
        config.lr,
        config.warmup,
        config.lr_start,
        config.lr_end,
        config.weight_decay,
        config.ema_momentum or ema_range(steps),
    )


def resolve_steps(config: Config, images: int, cost: Cost | None = None) -> int:
    """The length of a run in steps: the least of what --steps, --epochs and, by the cost of a step, --time give."""
    asked = [config.steps] if config.steps else []
    if config.epochs:
        asked.append(max(1, round(config.epochs * images / config.batch_size)))
    if config.time and cost:
        asked.append(steps_within(seconds(config.time), config.batch_size, cost))
    if not asked:
        raise UsageError("a run needs a length: give --time 10m, --epochs 100 or --steps 10000")
    return min(asked)


def steps_within(budget: float, batch_size: int, cost: Cost) -> int:
    """The most steps of a run, at least 1, that take `budget` seconds, measurements included."""
    if cost.monitor_seconds is None:
        return max(1, int(budget / (cost.step_seconds * OVERHEAD)))
    low, high = 1, max(1, int(budget / cost.step_seconds))
    while low < high:
        middle = (low + high + 1) // 2
        fits = run_seconds(middle, batch_size, cost) <= budget
        low, high = (middle, high) if fits else (low, middle - 1)
    return low


def run_seconds(steps: int, batch_size: int, cost: Cost) -> float:
    """Expected duration of a run: steps and measurements."""
    if cost.monitor_seconds is None:
        return steps * cost.step_seconds * OVERHEAD
    monitored = 2 + steps // monitor_interval(steps, batch_size, cost.monitored)
    probed = 2 + steps // probe_interval(steps, batch_size, cost.monitored)
    return steps * cost.step_seconds + monitored * cost.monitor_seconds + probed * cost.probe_seconds


def plan_lines(config: Config, stepper: Stepper, batches: Batches, cost: Cost, sizes: Sizes, spent: float) -> list[str]:
    """Images, model, steps, EMA half-life against run length, expected time and memory, in a few lines.

    sizes: (width, height, number) of the images; spent: seconds that went before.
    """
    steps, size = stepper.schedule.steps, config.batch_size
    epochs = steps * size / len(batches.dataset)
    rows, columns = config.grid_size
    return [
        "plan",
        f"  {config.model_name} {networks_in_words(stepper)}, on {stepper.device} in {precision_of(stepper)}",
        *emulation_lines(stepper.device, stepper.precision),
        f"  {size_in_words(config.size)}, {rows}x{columns} patches of {config.patch_size} px",
        f"  {masks_in_words(batches)}",
        f"  {seen_line(config, sizes)}",
        f"  {steps:,} steps of {size} images: {epochs:.1f} epochs of {len(batches.dataset):,} images",
        *(ema_lines(config, steps) if stepper.model.has_target_encoder else []),
        f"  about {duration(run_seconds(steps, size, cost))} of training at {size / cost.step_seconds:,.0f} images/s, "
        f"{cost.memory / 2**30:.1f} GiB of memory; on top come {duration(spent)} so far and, at the end, the report",
        *([f"  {workers_in_words(config, batches, cost)}"] if config.workers is None else []),
        f"  {limit(cost, isinstance(batches.dataset, ImagesInMemory))}",
    ]


def seen_line(config: Config, sizes: Sizes) -> str:
    """What of the images is seen, and the image size that would see more of them, if there is one."""
    suited = size_for(sizes, config)
    lost, then = (unseen(sizes, frame)[0] for frame in (config.frame, config.frame._replace(size=suited)))
    better = f"; --image-size {size_text(suited)} would show {1 - then:.0%}" if lost - then > WORTH_SAYING else ""
    return seen_in_words(sizes, config.frame) + better


def networks_in_words(stepper: Stepper) -> str:
    """Parameters of the context encoder and of what else learns: "5.0 M, predictor 0.30 M"."""
    model, learning = stepper.model, stepper.model.learning_modules()
    millions = {name: sum(p.numel() for p in child.parameters()) / 1e6 for name, child in model.named_children()}
    others = [name for name, child in model.named_children() if child in learning and name != "context_encoder"]
    return ", ".join([f"{millions['context_encoder']:.1f} M", *(f"{name} {millions[name]:.2f} M" for name in others)])


def masks_in_words(batches: Batches) -> str:
    masks = batches.masks
    if masks is None:
        small = f" and {batches.small_views} of {size_in_words(batches.small_size)}" if batches.small_views else ""
        changed = ", their colours changed" if batches.photometric else ""
        return f"{batches.views} crops of each image{small}, not masked{changed}"
    return f"context {masks.context_length}, {targets_in_words(masks)} ({masks.name})"


def precision_of(stepper: Stepper) -> str:
    return str(stepper.precision).removeprefix("torch.")


def emulation_lines(device: torch.device, precision: torch.dtype) -> list[str]:
    """A warning where a CPU has no instructions for the precision."""
    times = times_slower(precision) if device.type == "cpu" and precision != torch.float32 else 1
    if times <= EMULATED:
        return []
    name = str(precision).removeprefix("torch.")
    return [f"  warning: {name} is about {times:.0f} times slower than float32 on this CPU: give --precision float32"]


def ema_lines(config: Config, steps: int) -> list[str]:
    """The target encoder's half-life against the length of the run, and a warning where the run ends too early."""
    momentum = schedule_of(config, steps).ema_momentum[0]
    half_life = ema_half_life(momentum)
    if not 0 < half_life < math.inf:
        return [f"  EMA momentum {momentum:g}"]
    lines = [f"  EMA half-life {half_life:,.0f} steps at the start, {steps / half_life:,.0f} half-lives in the run"]
    if steps < (needed := least_steps(momentum)) and not config.init:
        faster = ", or give --ema-momentum 0.99 1" * (momentum > 0.99)
        lines.append(
            f"  warning: the run ends while its targets are still those of an untrained encoder: train for "
            f"{needed} steps or more{faster}"
        )
    return lines


def limit(cost: Cost, in_memory: bool = False) -> str:
    """Which of step and input limits the run by how long the step waits, and what to do about the input.

    `in_memory`: the images are decoded already, and only cropped in each step.
    """
    fraction = cost.input_fraction
    if fraction < (WAITED if cost.workers else ALONE):
        return f"the step limits the run: waiting for input takes {fraction:.1%} of the time"
    more = min(cores(), max(1, math.ceil(cost.workers / (1 - min(fraction, 0.9)))))
    slow = "more cores help" if in_memory else "store the images smaller, or give it more cores"
    cure = f"give --workers {more}" if more > cost.workers else slow
    return f"the input limits the run: the step waits for it {fraction:.0%} of the time; {cure}"


def speed_lines(config: Config, stepper: Stepper, speed: Speed) -> list[str]:
    """What `openjepa bench` prints."""
    precision = precision_of(stepper)
    count = speed.together.workers
    workers = f"{count} worker{'s' * (count != 1)}" if count else "no workers"
    return [
        f"{config.model}, {config.image_size} px, patches of {config.patch_size} px, batch {config.batch_size}, "
        f"on {stepper.device} in {precision}",
        *emulation_lines(stepper.device, stepper.precision),
        f"  step alone   {speed.step_rate:10,.1f} images/s, {speed.fraction_of_peak:.0%} of the "
        f"{speed.peak / 1e12:.3g} TFLOP/s that {precision} products reach here",
        f"  input alone  {speed.input_rate:10,.1f} images/s with {workers}",
        f"  together     {speed.rate:10,.1f} images/s, {speed.together.memory / 2**30:.1f} GiB of memory",
        bottleneck(speed),
    ]


def bottleneck(speed: Speed) -> str:
    """What limits the run by the rates of step and input alone: one of them, or the processors that both need."""
    if speed.rate < SHARED * min(speed.step_rate, speed.input_rate):
        return (
            f"the step and the input share the processors: together they reach {speed.rate:,.0f} images/s, the slower "
            f"of them alone {min(speed.step_rate, speed.input_rate):,.0f}; more cores help, more workers do not"
        )
    if speed.step_rate <= speed.input_rate:
        return "the step limits the run: the input alone is faster"
    return limit(speed.together)
