"""Ways to run the blocks of the networks: recompute activations to save memory, or compile to save time."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from openjepa.methods.base import Method

Forward = Callable[[Tensor], Tensor]


def blocks_of(model: Method) -> list[nn.Module]:
    """The blocks of all networks of a method."""
    return [block for network in model.networks() for block in network.blocks]


def checkpoint_activations(model: Method) -> None:
    """Keep only the input of each block, and compute the rest again in the backward pass. Gradients are the same."""
    for block in blocks_of(model):
        block.forward = partial(checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False)


def compile_blocks(model: Method) -> None:
    """Compile every block at its first call in training. Call this before `checkpoint_activations`, which wraps it.

    Compiled code is for one shape, and shared by all blocks that have it: one for each network of a method. Monitors
    and probes, which have other shapes, run the blocks as they are: the compiler keeps eight versions of a function.
    """
    for block in blocks_of(model):
        block.forward = partial(_chosen, block, torch.compile(block.forward, dynamic=False), block.forward)


def _chosen(block: nn.Module, compiled: Forward, plain: Forward, x: Tensor) -> Tensor:
    return (compiled if block.training else plain)(x)


def no_compiler(device: torch.device) -> str:
    """Why nothing can be compiled for a device, in a few words; "" where it can."""
    try:
        torch.compile(_trial)(torch.ones(8, device=device))
    except Exception as error:  # whatever is missing, a run works without it
        return f"torch.compile does not work here ({str(error).splitlines()[0]})"
    return ""


def _trial(x: torch.Tensor) -> torch.Tensor:
    return torch.relu(x) + 1
