"""The cost of a training step: a few steps timed before a run is planned, and the rates that `openjepa bench` shows."""

import contextlib
import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from openjepa.console import resident_memory
from openjepa.data.batches import Batch, Batches, load_batches
from openjepa.device import EMULATED, times_slower
from openjepa.models.cpu_bf16 import flop_formulas
from openjepa.training.monitoring_intervals import MONITORED
from openjepa.training.step import Stepper

T = TypeVar("T")
WARM_UP, TIMED = 2, 6
ON_GPU = 5  # times as many on a GPU, whose steps are short and whose first ones allocate


@dataclass(frozen=True)
class Cost:
    """Seconds of a step, and the part of them that it waits for input; peak memory in bytes.

    `monitor_seconds` and `probe_seconds` of one measurement are known on a GPU, where they cost a larger part of a run,
    and where the time decides the length; they are None elsewhere. `monitored` images are seen by the monitors, and
    `workers` processes read images.
    """

    step_seconds: float
    memory: int
    input_seconds: float = 0.0
    monitor_seconds: float | None = None
    probe_seconds: float = 0.0
    monitored: int = MONITORED
    workers: int = 0

    @property
    def input_fraction(self) -> float:
        """Fraction of a step's time, in [0, 1], in which it waits for input."""
        return self.input_seconds / self.step_seconds


class Waiting(Generic[T]):
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


class Stopwatch:
    """The time that steps take since the last restart, without pauses, and how much of it they wait for input."""

    def __init__(self, device: torch.device, waiting: Waiting) -> None:
        self.device, self.waiting = device, waiting
        self._begun, self._waited = time.perf_counter(), waiting.seconds

    @property
    def seconds(self) -> float:
        return max(time.perf_counter() - self._begun, 1e-9)

    @property
    def waited(self) -> float:
        return self.waiting.seconds - self._waited

    def restart(self) -> None:
        self._begun, self._waited = time.perf_counter(), self.waiting.seconds

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Within this context no time is counted, once the device has done what was queued before."""
        synchronise(self.device)
        begun = time.perf_counter()
        yield
        self._begun += time.perf_counter() - begun


def measure_cost(stepper: Stepper, batches: Batches, workers: int) -> Cost:
    """Time some steps, which change the networks: give a stepper of their own."""
    warm_up, timed = (count * (ON_GPU if stepper.device.type == "cuda" else 1) for count in (WARM_UP, TIMED))
    waiting = Waiting(load_batches(batches, 0, warm_up + timed, workers, stepper.device))
    watch = Stopwatch(stepper.device, waiting)
    for step, *_ in stepper.run(0, waiting):
        if step < warm_up:
            synchronise(stepper.device)
            watch.restart()
    synchronise(stepper.device)
    return Cost(watch.seconds / timed, peak_memory(stepper.device), watch.waited / timed, workers=workers)


def seconds_of(call: Callable[[], object], device: torch.device) -> float:
    """Seconds of a call until the device is done with it; on a GPU after one that is not timed."""
    if device.type != "cpu":
        call()
    synchronise(device)
    begun = time.perf_counter()
    call()
    synchronise(device)
    return time.perf_counter() - begun


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what was queued."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def peak_memory(device: torch.device) -> int:
    """Peak bytes so far: allocated on a GPU, or resident in this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class PeakMemory:
    """The most memory in bytes that was held when it was looked at, since it was made; on a GPU the true peak."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.bytes = device, 0
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    def look(self) -> None:
        held = peak_memory(self.device) if self.device.type == "cuda" else resident_memory()
        self.bytes = max(self.bytes, held)


SIDES = {"cuda": 8192}  # of a product large enough to reach the peak; 2048 elsewhere
ENDLESS = 2**31


@dataclass(frozen=True)
class Speed:
    """Images a second of the step alone and the input alone, the cost of both together, and how fast products are.

    `flops` are the floating-point operations of a step; `peak` those a second that the device reaches at most.
    """

    step_rate: float
    input_rate: float
    together: Cost
    batch_size: int
    flops: int
    peak: float

    @property
    def rate(self) -> float:
        """Images a second in a run."""
        return self.batch_size / self.together.step_seconds

    @property
    def fraction_of_peak(self) -> float:
        """Fraction of the matrix peak, in [0, 1], that the step alone reaches."""
        return self.step_rate / self.batch_size * self.flops / self.peak


def measure_speed(stepper: Stepper, batches: Batches, workers: int, seconds: float = 3.0) -> Speed:
    """Spend about `seconds` on each of the step alone and the input alone, then some steps on both.

    The steps change the networks: give a stepper of their own.
    """
    samples = [batches[step] for step in range(2)]
    flops, peak = step_flops(stepper, samples[0]), matrix_peak(stepper.device, stepper.precision)

    def step(i: int) -> None:
        stepper(i, samples[i % len(samples)])
        synchronise(stepper.device)

    steps = a_second(step, WARM_UP, seconds)
    loaded = input_rate(batches, workers, stepper.device, seconds)
    size = batches.batch_size
    return Speed(steps * size, loaded, measure_cost(stepper, batches, workers), size, flops, peak)


def input_rate(batches: Batches, workers: int, device: torch.device, seconds: float = 3.0) -> float:
    """Images a second that are read, cropped and masked while nothing else runs."""
    loaded = load_batches(batches, 0, ENDLESS, workers, device)
    return batches.batch_size * a_second(lambda _: next(loaded), 1 + 2 * workers, seconds)


def a_second(call: Callable[[int], object], warm_up: int, seconds: float, least: int = 3) -> float:
    """Calls a second, over `seconds` and at least `least` calls after the warm-up."""
    for i in range(warm_up):
        call(i)
    begun, count = time.perf_counter(), 0
    while count < least or time.perf_counter() - begun < seconds:
        call(warm_up + count)
        count += 1
    return count / (time.perf_counter() - begun)


def matrix_peak(device: torch.device, dtype: torch.dtype, repeats: int = 5) -> float:
    """Floating-point operations a second of square matrix products, the fastest of `repeats`."""
    side = _side(device, dtype)
    a, spans = torch.randn(side, side, device=device).to(dtype), []  # products of constants run faster
    for _ in range(repeats + 1):
        begun = time.perf_counter()
        a @ a
        synchronise(device)
        spans.append(time.perf_counter() - begun)
    return 2 * side**3 / min(spans)


def _side(device: torch.device, dtype: torch.dtype) -> int:
    """The side of a product large enough to reach the peak; small where a CPU has no instructions for the dtype."""
    if device.type == "cpu" and times_slower(dtype) > EMULATED:
        return 128
    return SIDES.get(device.type, 2048)


def step_flops(stepper: Stepper, batch: Batch) -> int:
    """Floating-point operations in the products of a step, forward and backward, without the optimizer's.

    Operations that a fused attention repeats in its backward pass are not counted.
    """
    inputs = stepper.prepare(batch)
    counting = FlopCounterMode(display=False, custom_mapping=flop_formulas())
    with sdpa_kernel(SDPBackend.MATH), counting as counter:
        with stepper.autocast():
            loss = stepper.model(inputs)
        loss.backward()
    stepper.optimizer.zero_grad(set_to_none=True)
    return counter.get_total_flops()
