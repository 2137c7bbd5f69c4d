"""Small runs, and several processes as torchrun would start them, forked so that they cost no imports."""

import contextlib
import multiprocessing
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from plain import PLAIN

from openjepa.config import build_config
from openjepa.data.memory import hold_in_memory
from openjepa.data.open import open_dataset
from openjepa.methods.ijepa import IJEPA
from openjepa.models.predictor import Predictor
from openjepa.models.vit import VisionTransformer
from openjepa.runs.planning.build import build_batches, build_stepper, draft
from openjepa.runs.planning.build_model import Networks
from openjepa.training.distributed import joined
from openjepa.training.loop import TrainingRun

SMALL = {"image_size": "16", "batch_size": 5, "log_every": 1, "predictor_depth": 1, "workers": 0}
SMALL |= {"precision": "float32", "steps": 50}
FORK = multiprocessing.get_context("fork")


def small_model():
    torch.manual_seed(0)
    encoder = VisionTransformer((16, 16), 4, embed_dim=32, depth=2, num_heads=2)
    return IJEPA(encoder, Predictor((4, 4), 32, 16, 1, 2, joint=True))


def parts(photos, parallel, **changes):
    """A config, and this process's stepper and batches, of a network much smaller than the config's."""
    config = build_config(PLAIN, SMALL | changes)
    dataset, _ = hold_in_memory(open_dataset(photos), 0)
    stepper = build_stepper(config, config.steps, [0.5] * 3, [0.25] * 3, small_model(), parallel)
    return config, stepper, build_batches(dataset, config)


def small_run(photos, out, parallel="auto", **changes) -> TrainingRun:
    """A run of that network in `out`."""
    config = build_config(PLAIN, SMALL | changes)
    dataset, _ = hold_in_memory(open_dataset(photos), 0)
    blueprint = draft(config, dataset, [0.5] * 3, [0.25] * 3, Networks(small_model), parallel)
    return blueprint.run(out, config.steps)


def child(call: Callable[..., Any], *args: Any) -> Any:
    """A started process, forked and in a group of its own, that makes a call."""
    process = FORK.Process(target=_lead, args=(call, args))
    process.start()
    return process


def _lead(call: Callable[..., Any], args: tuple) -> None:
    os.setsid()
    call(*args)


def run_script(script: str, folder: Path) -> tuple[int | None, str]:
    """Run a script in a folder, in a forked process; gives its exit code and what it said."""
    process = FORK.Process(target=_run_script, args=(script, folder))
    process.start()
    process.join(300)
    process.kill()
    return process.exitcode, (folder / "said.txt").read_text()


def _run_script(script: str, folder: Path) -> None:
    os.chdir(folder)
    with open("said.txt", "w") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
    sys.modules["__main__"] = ModuleType("__main__")
    exec(compile(script, "script", "exec"), vars(sys.modules["__main__"]))
    sys.stdout.flush()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start_ranks(count: int, call: Callable[..., Any], *args: Any, meet: bool = True) -> tuple[list, Any]:
    """`count` processes that call `call(*args)` together, and a queue of (rank, result).

    A `call` that makes the group of processes itself, as commands do, has `meet` False.
    """
    port, results = free_port(), FORK.Queue()
    ranks = [FORK.Process(target=_run, args=(rank, count, port, results, meet, call, args)) for rank in range(count)]
    for process in ranks:
        process.start()
    return ranks, results


def together(count: int, call: Callable[..., Any], *args: Any, meet: bool = True) -> list[Any]:
    """What `call(*args)` gives on each of `count` processes; `meet` as in `start_ranks`."""
    ranks, results = start_ranks(count, call, *args, meet=meet)
    found = dict(results.get(timeout=120) for _ in ranks)
    for process in ranks:
        process.join(30)
    for result in found.values():
        if isinstance(result, BaseException):
            raise result
    return [found[rank] for rank in range(count)]


def _run(rank: int, count: int, port: int, results: Any, meet: bool, call: Callable[..., Any], args: tuple) -> None:
    meeting = {"RANK": rank, "WORLD_SIZE": count, "LOCAL_RANK": rank, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ |= {name: str(value) for name, value in meeting.items()}
    try:
        with joined(torch.device("cpu")) if meet else contextlib.nullcontext():
            results.put((rank, call(*args)))
    except BaseException as error:  # the test tells it
        results.put((rank, error))
