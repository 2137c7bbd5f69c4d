"""Several processes under torchrun: they share out the features, and the first of them does all the rest.

Whoever evaluates has them meet first (`openjepa.training.distribution.joined`); alone, everything here returns at once.
"""

from collections.abc import Callable

import torch
from torch import distributed


def rank() -> int:
    return distributed.get_rank() if distributed.is_initialized() else 0


def world() -> int:
    return distributed.get_world_size() if distributed.is_initialized() else 1


def meet() -> None:
    """Wait until all processes are here."""
    if world() > 1:
        distributed.barrier()


def told(text: Callable[[], str]) -> str:
    """What `text` gives in the first process, in all of them; it is asked in the first alone, and not empty."""
    if world() == 1:
        return text()
    said = torch.frombuffer(bytearray(text().encode() if rank() == 0 else b"-"), dtype=torch.uint8)
    length = torch.tensor(len(said))
    distributed.broadcast(length, 0)
    message = said if rank() == 0 else torch.empty(int(length), dtype=torch.uint8)
    distributed.broadcast(message, 0)
    return bytes(message.tolist()).decode()
