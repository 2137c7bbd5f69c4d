"""SimCLR (Chen et al. 2020, arXiv 2002.05709): tell the other view of an image from all views of the others."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from openjepa.methods.joint.base import JointMethod
from openjepa.methods.joint.heads import HIDDEN, mlp

TEMPERATURE, WIDTH = 0.2, 128  # the paper has 0.1 for ImageNet, and 0.5 for CIFAR-10


def nt_xent(projected: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Cross-entropy of finding the other view among all others (equation 1): projected [2, B, P] -> scalar."""
    z = F.normalize(projected.flatten(0, 1), dim=1)
    similar = z @ z.T / temperature
    itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
    partner = torch.arange(len(z), device=z.device).roll(len(z) // 2)
    return F.cross_entropy(similar.masked_fill(itself, -torch.inf), partner)


class SimCLR(JointMethod):
    """Contrastive: the other images of the batch are what an image is pushed away from, so that nothing collapses."""

    @classmethod
    def head(cls, width: int) -> nn.Module:
        return mlp(width, HIDDEN * width, WIDTH)

    def compare(self, projected: Tensor) -> Tensor:
        return nt_xent(projected)
