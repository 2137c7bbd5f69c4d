"""A few steps on copies of the networks, to know what a step costs before the run is planned."""

import copy
import resource
import statistics
import sys
import time
from dataclasses import dataclass

import torch

from openjepa.data.batches import Batches, load_batches
from openjepa.training.steps import Stepper

WARM_UP, TIMED = 2, 6


@dataclass(frozen=True)
class Cost:
    """Seconds of a step, its input included, and peak memory in bytes (of the device if it has its own)."""

    step_seconds: float
    memory: int


def measure_cost(stepper: Stepper, batches: Batches, workers: int) -> Cost:
    """Time some steps of the run to come without changing it."""
    trial = copy.copy(stepper)
    trial.model, trial.optimizer = copy.deepcopy((stepper.model, stepper.optimizer))
    times = []
    for _ in trial.run(0, load_batches(batches, 0, WARM_UP + TIMED, workers)):
        if trial.device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter())
    spans = [after - before for before, after in zip(times[WARM_UP - 1 :], times[WARM_UP:], strict=False)]
    return Cost(statistics.fmean(spans), peak_memory(trial.device))


def peak_memory(device: torch.device) -> int:
    """Peak bytes so far: allocated on a GPU, or resident in this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
