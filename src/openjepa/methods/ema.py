"""Networks that follow others by an exponential moving average of their weights."""

import torch
from torch import Tensor

from openjepa.models.protocol import HasParameters


@torch.no_grad()
def follow(target: HasParameters, source: HasParameters, ema_momentum: float) -> None:
    """target <- ema_momentum * target + (1 - ema_momentum) * source, parameter by parameter."""
    targets: list[Tensor] = list(target.parameters())
    sources: list[Tensor] = list(source.parameters())
    torch._foreach_lerp_(targets, sources, 1 - ema_momentum)
