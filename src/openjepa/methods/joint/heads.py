"""Networks between an encoder and the loss. They are thrown away after training."""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from openjepa.methods.joint.processes import mean_over_batch

HIDDEN = 4  # widths of the encoder in a hidden layer


class BatchNorm(nn.Module):
    """Batch normalisation (Ioffe and Szegedy 2015, arXiv 1502.03167) of [..., B, D] over the images of all processes.

    It has no running averages, since heads are used in training alone; views are normalised each on its own.
    """

    def __init__(self, width: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width)), eps

    def forward(self, x: Tensor) -> Tensor:
        centred = x.float() - mean_over_batch(x.float())
        return centred * (mean_over_batch(centred.square()) + self.eps).rsqrt() * self.weight + self.bias


def mlp(*widths: int, last_norm: bool = False) -> nn.Sequential:
    """Linear layers from each width to the next, with batch normalisation (and so no bias) and ReLU between."""
    *inner, last = pairwise(widths)
    layers: list[nn.Module] = []
    for before, after in inner:
        layers += [nn.Linear(before, after, bias=False), BatchNorm(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(*last, bias=not last_norm), *[BatchNorm(last[1])] * last_norm)


class PrototypeHead(nn.Module):
    """Cosines [..., B, K] of projections with K learned directions."""

    def __init__(self, widths: Sequence[int], prototypes: int) -> None:
        super().__init__()
        self.projector = mlp(*widths)
        self.prototypes = nn.Parameter(torch.randn(prototypes, widths[-1]))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(F.normalize(self.projector(x), dim=-1), F.normalize(self.prototypes, dim=-1))
