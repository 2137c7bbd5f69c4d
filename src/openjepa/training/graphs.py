"""CUDA graphs: the host launches the loss and the gradients of a step at once instead of kernel by kernel."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from openjepa.methods.base import Method


class Loss(nn.Module):
    """The loss of a model, as a module of its own, because capturing a module replaces its `forward`."""

    def __init__(self, model: Method) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, context_ids: Tensor, target_ids: Tensor) -> Tensor:
        return self.model(images, context_ids, target_ids)


def capture(model: Method, inputs: tuple[Tensor, ...], precision: torch.dtype) -> Callable[..., Tensor]:
    """The loss of `model` as a CUDA graph, gradients included, for inputs of the shapes of `inputs`.

    The gradients that it leaves are overwritten by its next call: use them, or set them to None, before that.
    """
    autocast = torch.autocast("cuda", precision, enabled=precision != torch.float32, cache_enabled=False)
    with autocast:  # without the cache of casted weights, which would outlive the capture
        return torch.cuda.make_graphed_callables(Loss(model), inputs)
