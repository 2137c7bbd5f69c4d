"""CUDA graphs: one launch for the loss and the gradients of a step, in place of one for each kernel."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from openjepa.methods.base import Inputs, Method


class Loss(nn.Module):
    """The loss of a method as a module of its own, because capturing a module replaces its `forward`."""

    def __init__(self, model: Method) -> None:
        super().__init__()
        self.model = model

    def forward(self, *tensors: Tensor) -> Tensor:
        names = ("views", *(("context_ids", "target_ids") if self.model.needs_masks else ("small_views",)))
        return self.model(Inputs(**dict(zip(names, tensors, strict=False))))


def capture(model: Method, inputs: Inputs, precision: torch.dtype) -> Callable[[Inputs], Tensor]:
    """The loss of `model` as a CUDA graph, gradients included, for inputs of the shapes of `inputs`.

    Its next call overwrites the gradients that it leaves: use them, or set them to None, before that.
    """
    autocast = torch.autocast("cuda", precision, enabled=precision != torch.float32, cache_enabled=False)
    with autocast:  # without the cache of cast weights, which would outlive the capture
        graph: Any = torch.cuda.make_graphed_callables(Loss(model), inputs.tensors)

    def loss(inputs: Inputs) -> Tensor:
        return graph(*inputs.tensors)

    return loss
