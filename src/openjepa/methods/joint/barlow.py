"""Barlow Twins (Zbontar et al., ICML 2021, arXiv 2103.03230): the correlations of two views become the identity."""

from torch import Tensor, nn

from openjepa.methods.joint.base import JointMethod
from openjepa.methods.joint.heads import HIDDEN, mlp

REDUNDANCY, EPS = 5e-3, 1e-5  # section 2.2


def barlow_twins(projected: Tensor) -> Tensor:
    """Squared distance of the correlation of both views from the identity (equation 1): [2, B, P] -> scalar."""
    centred = projected - projected.mean(dim=1, keepdim=True)
    one, other = centred * (centred.square().mean(dim=1, keepdim=True) + EPS).rsqrt()
    correlation = one.T @ other / len(one)
    diagonal = correlation.diagonal()
    redundant = correlation.square().sum() - diagonal.square().sum()
    return (1 - diagonal).square().sum() + REDUNDANCY * redundant


class BarlowTwins(JointMethod):
    """Non-contrastive: a number that is the same for all images correlates with nothing, so the diagonal forbids it."""

    @classmethod
    def head(cls, width: int) -> nn.Module:
        return mlp(width, HIDDEN * width, HIDDEN * width, HIDDEN * width)

    def compare(self, projected: Tensor) -> Tensor:
        return barlow_twins(projected)
