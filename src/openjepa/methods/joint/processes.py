"""Tensors of several processes as one, with gradients: what a loss over a batch needs that processes share."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        parts = [torch.empty_like(tensor) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, tensor.contiguous())
        return torch.stack(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return total[dist.get_rank()]


def gathered(tensor: Tensor) -> Tensor:
    """[..., B, D] of each process as [..., W * B, D] of all W, in the order of ranks; B is the same everywhere.

    The gradient of a process is the sum over the losses of all of them.
    """
    if world_size() == 1:
        return tensor
    everyones: Tensor = _Gather.apply(tensor)
    return everyones.movedim(0, -3).flatten(-3, -2)


def mean_over_batch(tensor: Tensor) -> Tensor:
    """The mean [..., 1, D] over the images of [..., B, D], those of all processes included."""
    return gathered(tensor.mean(dim=-2, keepdim=True)).mean(dim=-2, keepdim=True)
