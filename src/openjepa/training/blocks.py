"""Ways to run the blocks of the networks: activations computed again to save memory, or compiled to save time."""

from functools import partial

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from openjepa.core.objective import Objective


def blocks_of(model: Objective) -> list[nn.Module]:
    """The blocks of all networks of a model."""
    networks = {id(n): n for n in (model.context_encoder, model.target_encoder, model.predictor)}
    return [block for network in networks.values() for block in network.blocks]


def checkpoint_activations(model: Objective) -> None:
    """Keep only what goes into each block, and compute the rest again on the way back. The gradients are the same."""
    for block in blocks_of(model):
        block.forward = partial(checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False)


def compile_blocks(model: Objective) -> str:
    """Compile every block when it is first called; returns why not, in a few words, where nothing can be compiled."""
    try:
        torch.compile(_trial)(torch.ones(8, device=next(model.parameters()).device))
    except Exception as error:  # whatever is missing, the run can go on without it
        return f"torch.compile does not work here ({str(error).splitlines()[0]})"
    for block in blocks_of(model):
        block.compile()
    return ""


def _trial(x: torch.Tensor) -> torch.Tensor:
    return torch.relu(x) + 1
