"""VICReg (Bardes et al., ICLR 2022, arXiv 2105.04906): views agree, every number varies, no two vary together."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from openjepa.methods.joint.base import JointMethod
from openjepa.methods.joint.heads import HIDDEN, mlp

INVARIANCE, VARIANCE, COVARIANCE, EPS = 25.0, 25.0, 1.0, 1e-4  # section 4.2


def variance(z: Tensor) -> Tensor:
    """How far the std of each number is below one: [B, P] -> scalar (equation 1)."""
    return F.relu(1 - (z.var(dim=0) + EPS).sqrt()).mean()


def covariance(z: Tensor) -> Tensor:
    """The squared covariances of different numbers, summed and over P: [B, P] -> scalar (equation 4)."""
    covariances = torch.cov(z.T)
    return (covariances.square().sum() - covariances.diagonal().square().sum()) / z.shape[1]


def vicreg(projected: Tensor) -> Tensor:
    """Invariance, variance and covariance of projected [2, B, P], weighted (equation 6)."""
    one, other = projected
    spread = (variance(one) + variance(other)) / 2  # the published code halves this term, and not the next
    return INVARIANCE * F.mse_loss(one, other) + VARIANCE * spread + COVARIANCE * (covariance(one) + covariance(other))


class VICReg(JointMethod):
    """Non-contrastive: the variance term alone keeps embeddings from collapsing, the covariance term from few axes."""

    @classmethod
    def head(cls, width: int) -> nn.Module:
        return mlp(width, HIDDEN * width, HIDDEN * width, HIDDEN * width)

    def compare(self, projected: Tensor) -> Tensor:
        return vicreg(projected)
