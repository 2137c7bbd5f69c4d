"""DINO (Caron et al., ICCV 2021, arXiv 2104.14294): agree with a slower copy of the network on a soft class."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from openjepa.methods.base import Inputs
from openjepa.methods.joint.base import FollowedMethod, all_views, full_precision
from openjepa.methods.joint.heads import HIDDEN, PrototypeHead
from openjepa.methods.joint.processes import mean_over_batch
from openjepa.models.protocol import PatchEncoder

PROTOTYPES, WIDTH = 1024, 256  # the paper has 65,536 for a million images
STUDENT, TEACHER, CENTRE = 0.1, 0.04, 0.9  # temperatures, and momentum of the centre (section 3.1 and appendix C)


def dino(scores: Tensor, targets: Tensor, centre: Tensor) -> Tensor:
    """Cross-entropy of scores [V, B, K] with the centred targets [T, B, K] of every other view, averaged: scalar.

    The first T views are those of the targets; centre [K].
    """
    wanted = ((targets - centre) / TEACHER).softmax(dim=-1)
    predicted = (scores / STUDENT).log_softmax(dim=-1)
    terms = -torch.einsum("tbk,vbk->tv", wanted, predicted) / scores.shape[1]
    others = 1 - torch.eye(*terms.shape, device=terms.device)
    return (terms * others).sum() / others.sum()


class DINO(FollowedMethod):
    """Self-distillation: centring keeps one class from taking all images, sharpening keeps targets from being flat."""

    centre: Tensor
    last_mean: Tensor
    default_views: ClassVar[str] = "multicrop"
    takes_small_views: ClassVar[bool] = True

    def __init__(self, context_encoder: PatchEncoder, projector: nn.Module) -> None:
        super().__init__(context_encoder, projector)
        self.register_buffer("centre", torch.zeros(PROTOTYPES))
        self.register_buffer("last_mean", torch.zeros(PROTOTYPES), persistent=False)

    @classmethod
    def head(cls, width: int) -> nn.Module:
        return PrototypeHead((width, HIDDEN * width, HIDDEN * width, WIDTH), PROTOTYPES)

    def loss(self, inputs: Inputs) -> Tensor:
        targets = self.targets(inputs.views)
        self.last_mean.copy_(mean_over_batch(targets.flatten(0, 1)).squeeze(0))
        scores = all_views(self.context_encoder, self.projector, inputs)
        with full_precision(scores):
            return dino(scores, targets, self.centre)

    def after_step(self, schedule: Mapping[str, float]) -> None:
        """The centre follows the mean of the batch (equation 4)."""
        super().after_step(schedule)
        self.centre.lerp_(self.last_mean, 1 - CENTRE)
