"""Rank, world size, barrier and rank-0 helpers for processes under torchrun.

Whoever wants several has them meet first (`openjepa.training.distributed.joined`); alone, everything returns at once.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from openjepa.errors import RankZeroError

T = TypeVar("T")


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """How many processes work together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def barrier() -> None:
    """Wait until all processes are here."""
    if world_size() > 1:
        dist.barrier()


def on_rank_zero(call: Callable[[], T]) -> T:
    """What `call` gives on rank 0, which alone makes it; what it raises there is raised everywhere."""
    if world_size() == 1:
        return call()
    outcome: list[Any] = [None, None]
    if rank() == 0:
        try:
            outcome[0] = call()
        except Exception as error:  # the others wait for an answer, whatever it is
            outcome[1] = error
    dist.broadcast_object_list(outcome, device=torch.device("cpu"))
    if outcome[1]:
        if rank() > 0:
            raise outcome[1] from RankZeroError()
        raise outcome[1]
    return outcome[0]
