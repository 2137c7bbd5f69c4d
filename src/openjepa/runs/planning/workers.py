"""How many processes read images while a run trains, where `--workers auto` leaves it open."""

import dataclasses
import math
import time

from openjepa.config import Config
from openjepa.data.batches import Batches
from openjepa.data.dataset import ImageDataset
from openjepa.data.memory import ImagesInMemory
from openjepa.device import choose_device, usual_workers
from openjepa.ranks import on_rank_zero, world_size
from openjepa.training.timing import Cost

ALONE = 0.25  # fraction of a step that reading takes, below which it is done between steps: workers would slow them
SPARE = 2  # times the workers that keep up with the steps, as rates differ between images and over time
TIMED = 64  # images that are read to time it


def first_workers(config: Config, dataset: ImageDataset) -> int:
    """As set, or by `auto` what is tried first, and taken where nothing is measured.

    One for a stream, which each would read whole; none on a CPU for images in memory.
    """
    if config.workers is not None:
        return config.workers
    if dataset.window:
        return 1
    device = choose_device(config.device)
    return 0 if _beside_steps(device.type, dataset) else usual_workers(device)


def settled_workers(config: Config, batches: Batches, cost: Cost) -> int:
    """As set, or by `auto` what steps of a measured cost need. All processes of a run must call it.

    On a GPU `SPARE` times the seconds of reading a batch over those of a step, at most those that were tried.
    """
    device, tried = choose_device(config.device), cost.workers
    if config.workers is not None or batches.dataset.window:
        return tried
    if device.type == "cpu":
        slow = _beside_steps("cpu", batches.dataset) and cost.input_fraction >= ALONE
        return on_rank_zero(lambda: usual_workers(device) if slow else tried)
    needed = on_rank_zero(lambda: math.ceil(SPARE * reading_seconds(batches) / cost.step_seconds))
    return min(tried, max(1, needed))


def reading_seconds(batches: Batches) -> float:
    """Seconds that one process takes to read and crop its part of a batch, by the second of two small ones."""
    size = min(batches.batch_size, TIMED * world_size())
    some = dataclasses.replace(batches, batch_size=size)
    some[0]  # opens files
    begun = time.perf_counter()
    some[1]
    return (time.perf_counter() - begun) * batches.batch_size / size


def workers_in_words(config: Config, batches: Batches, cost: Cost) -> str:
    """What `auto` chose, and why."""
    device, count = choose_device(config.device).type, cost.workers
    number = f"{count} worker{'s' * (count != 1)}" if count else "no workers"
    if batches.dataset.window:
        why = "each reads the whole stream"
    elif device == "cpu":
        why = "steps need the cores" if count else f"images in memory take {cost.input_fraction:.0%} of a step"
    else:
        why = f"enough for steps of {1000 * cost.step_seconds:.0f} ms"
    return f"--workers auto: {number}, {why}"


def _beside_steps(device: str, dataset: ImageDataset) -> bool:
    return device == "cpu" and isinstance(dataset, ImagesInMemory)
