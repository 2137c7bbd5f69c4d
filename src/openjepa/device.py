"""The device and the floating-point format of computations where the user leaves them open."""

import contextlib
import functools
import os
import re
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from openjepa.errors import UsageError

PRECISIONS = {"bf16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
PAYS = 1.3  # times faster that bf16 products must be: casts cost too
EMULATED = 4  # times slower than float32, from which a CPU is taken to have no instructions for a dtype


def choose_device(name: str | torch.device = "auto") -> torch.device:
    """ "auto": CUDA, then MPS, then CPU. Raises UsageError if the device asked for is not there."""
    name = str(name)
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, present in there.items() if present))
    kind = name.split(":")[0]
    if not there.get(kind):
        usable = ", ".join(["auto", *(kind for kind, present in there.items() if present)])
        raise UsageError(f"device {name} is not available here: use one of {usable}")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"device {name} is not a device: {str(error).splitlines()[0]}") from error
    if kind == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(f"device {name} is not available here: there are {torch.cuda.device_count()}, counted from 0")
    return device


@contextlib.contextmanager
def algorithms_restored() -> Iterator[None]:
    """After this context operations are chosen as before it, whatever `use_deterministic_algorithms` did within."""
    before = torch.are_deterministic_algorithms_enabled()
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def use_deterministic_algorithms() -> None:
    """From here on operations give the same bits each time on a GPU too; RuntimeError for one that cannot."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read by the first product on a GPU
    torch.use_deterministic_algorithms(True)


def cores() -> int:
    """Processor cores for this process, of those that it and others of its run on this machine may use; at least 1."""
    every = os.cpu_count() or 1
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else every
    beside = os.environ.get("LOCAL_WORLD_SIZE", "")  # of torchrun
    return max(1, found // int(beside) if re.fullmatch("[1-9][0-9]{0,5}", beside) else found)


FEW, MANY = 2, 16


def usual_workers(device: torch.device | None) -> int:
    """Processes that read images: two beside work on a CPU, which needs the cores; more for a GPU, or for no work."""
    if device is None:
        return min(MANY, cores())
    return min(FEW, cores()) if device.type == "cpu" else min(MANY, max(1, cores() - 1))


def memory_of(device: torch.device) -> int:
    """Bytes of memory: of a GPU, or that this process may use of the machine's."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    found = [2**63]
    with contextlib.suppress(OSError, ValueError):  # not every system tells
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    with contextlib.suppress(OSError, ValueError):  # of a container
        found.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return min(found if limit == resource.RLIM_INFINITY else [*found, limit])


def where_exact(device: torch.device | str) -> torch.device:
    """Where probes run for an encoder on `device`: there, unless it lacks the eigenvectors and float64 they need."""
    device = torch.device(device)
    return torch.device("cpu") if device.type == "mps" else device


def choose_precision(name: str | torch.dtype, device: torch.device) -> torch.dtype:
    """ "auto": on a GPU bf16, or float16 where the GPU has none; elsewhere bf16 where it is faster, else float32.

    On a CPU that is timed once a process.

    A dtype that autocast takes is given back. Raises UsageError for any other name or dtype.
    """
    if name in DTYPES:
        return name
    if isinstance(name, str) and name in PRECISIONS:
        return PRECISIONS[name]
    if name != "auto":
        raise UsageError(f"precision {name} is not known: known are auto, {', '.join(PRECISIONS)}")
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return torch.bfloat16 if device.type == "cpu" and bf16_pays() else torch.float32


def bf16_pays() -> bool:
    """Whether bf16 products are enough faster than float32 ones on this CPU."""
    if times_slower(torch.bfloat16) > EMULATED:
        return False
    seconds = product_seconds(torch.bfloat16, 512, 30)
    return seconds[torch.float32] > PAYS * seconds[torch.bfloat16]


def times_slower(dtype: torch.dtype) -> float:
    """How many times as long as in float32 a small matrix product takes on the CPU."""
    seconds = product_seconds(dtype, 128, 5)
    return seconds[dtype] / seconds[torch.float32]


@functools.cache
def product_seconds(dtype: torch.dtype, side: int, rounds: int) -> dict[torch.dtype, float]:
    """The least seconds of a square matrix product on the CPU, in float32 and in `dtype`.

    Timed, because instructions for bf16 do not say: with AVX-512 alone it can be twice as fast or half as fast. The
    dtypes take turns, so that other work on the machine slows both, and the choice stays the same from run to run.
    """
    spans: dict[torch.dtype, list[float]] = {torch.float32: [], dtype: []}
    for _ in range(rounds):
        for kind, seconds in spans.items():
            a = torch.ones(side, side, dtype=kind)
            begun = time.perf_counter()
            a @ a
            seconds.append(time.perf_counter() - begun)
    return {kind: min(seconds) for kind, seconds in spans.items()}
