"""How often a run is measured, logged and saved. None of it changes the weights."""

import math
from dataclasses import dataclass

# Images that monitors see, and at least for each dimension of the embedding, for its rank.
MONITORED, PER_DIMENSION = 256, 2
# What the rank of a further image costs, in what one of the first 256 costs: the target encoder runs on it once, and on
# those twice, beside context encoder and predictor.
FURTHER = 0.5

# Images between two measurements, so that both together cost under 3 % of training on a CPU (benchmarks/monitors.py).
# Shorter runs are measured at every eighth, for a verdict by a quarter, and no more often than LEAST_IMAGES.
MONITOR_IMAGES, PROBE_IMAGES, LEAST_IMAGES = 15_360, 51_200, 5_120


@dataclass(frozen=True)
class Intervals:
    """Steps between two measurements by monitors, by probes (a multiple of the former), and two lines of the log.

    `keep` is the number of steps between checkpoints that are kept (0: the last two and the best), `minutes` the time
    between two checkpoints.
    """

    monitor: int
    probe: int
    log: int = 10
    keep: int = 0
    minutes: float = 5.0


def monitored_images(width: int) -> int:
    """Images that the monitors of an encoder of that width see, where there are so many."""
    return max(MONITORED, PER_DIMENSION * width)


def monitor_interval(steps: int, batch_size: int, monitored: int = MONITORED) -> int:
    """Steps between two measurements by monitors: an eighth of a short run, a fiftieth of a long one.

    With more images `monitored` they are as much rarer as they cost more.
    """
    scale = 1 + FURTHER * max(0, monitored - MONITORED) / MONITORED
    usual, least = (math.ceil(images * scale / batch_size) for images in (MONITOR_IMAGES, LEAST_IMAGES))
    return min(max(usual, steps // 50), max(least, math.ceil(steps / 8)))


def probe_interval(steps: int, batch_size: int, monitored: int = MONITORED) -> int:
    """Steps between two measurements by probes, a multiple of `monitor_interval`."""
    monitor = monitor_interval(steps, batch_size, monitored)
    wanted = max(math.ceil(PROBE_IMAGES / batch_size), steps // 10)
    return math.ceil(wanted / monitor) * monitor
