"""Ways to run the blocks of the networks: activations computed again to save memory, or compiled to save time."""

from functools import partial

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from openjepa.methods.base import Method


def blocks_of(model: Method) -> list[nn.Module]:
    """The blocks of all networks of a model."""
    networks = {id(n): n for n in (model.context_encoder, model.target_encoder, model.predictor)}
    return [block for network in networks.values() for block in network.blocks]


def checkpoint_activations(model: Method) -> None:
    """Keep only what goes into each block, and compute the rest again on the way back. The gradients are the same."""
    for block in blocks_of(model):
        block.forward = partial(checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False)


def compile_blocks(model: Method) -> None:
    """Compile every block when it is first called. Before `checkpoint_activations`, which calls what comes of it."""
    for block in blocks_of(model):
        block.forward = torch.compile(block.forward)


def no_compiler(device: torch.device) -> str:
    """Why nothing can be compiled for a device, in a few words; nothing where it can."""
    try:
        torch.compile(_trial)(torch.ones(8, device=device))
    except Exception as error:  # whatever is missing, a run can do without
        return f"torch.compile does not work here ({str(error).splitlines()[0]})"
    return ""


def _trial(x: torch.Tensor) -> torch.Tensor:
    return torch.relu(x) + 1
