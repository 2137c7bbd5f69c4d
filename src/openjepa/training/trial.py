"""A few steps before a run is planned, to know what a step costs and what it waits for."""

import resource
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import torch

from openjepa.data.batches import Batches, load_batches
from openjepa.training.steps import Stepper

T = TypeVar("T")
WARM_UP, TIMED = 2, 6
ON_GPU = 5  # times as many on a GPU, whose steps are short and whose first ones allocate


@dataclass(frozen=True)
class Cost:
    """Seconds of a step, and those of them that it waits for input; peak bytes of memory (of a device with its own)."""

    step_seconds: float
    memory: int
    input_seconds: float = 0.0

    @property
    def input_share(self) -> float:
        """Share of a step's time, in [0, 1], in which it waits for input."""
        return self.input_seconds / self.step_seconds


class Waiting:
    """Items of an iterator, and the `seconds` spent waiting for them so far."""

    def __init__(self, items: Iterable[T]) -> None:
        self.items, self.seconds = iter(items), 0.0

    def __iter__(self) -> Iterator[T]:
        while True:
            begun = time.perf_counter()
            item = next(self.items, None)
            self.seconds += time.perf_counter() - begun
            if item is None:
                return
            yield item


def measure_cost(stepper: Stepper, batches: Batches, workers: int) -> Cost:
    """Time some steps, which change the networks: give a stepper of their own."""
    warm_up, timed = (count * (ON_GPU if stepper.device.type == "cuda" else 1) for count in (WARM_UP, TIMED))
    waiting = Waiting(load_batches(batches, 0, warm_up + timed, workers))
    for step, *_ in stepper.run(0, waiting):
        if step < warm_up:
            synchronise(stepper.device)
            begun, waited = time.perf_counter(), waiting.seconds
    synchronise(stepper.device)
    seconds = (time.perf_counter() - begun) / timed
    return Cost(seconds, peak_memory(stepper.device), (waiting.seconds - waited) / timed)


def synchronise(device: torch.device) -> None:
    """Wait for what the device was asked to do."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def peak_memory(device: torch.device) -> int:
    """Peak bytes so far: allocated on a GPU, or resident in this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
