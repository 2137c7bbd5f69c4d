"""SwAV (Caron et al., NeurIPS 2020, arXiv 2006.09882): predict the cluster of a view from the other views."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from openjepa.methods.base import Inputs
from openjepa.methods.joint.base import JointMethod, all_views, full_precision
from openjepa.methods.joint.heads import HIDDEN, PrototypeHead
from openjepa.methods.joint.processes import gathered

PROTOTYPES, WIDTH = 256, 128  # the paper has 3,000 for a thousand classes
TEMPERATURE, SHARPNESS, ITERATIONS = 0.1, 0.05, 3  # section 4 and appendix A


@torch.no_grad()
def assignments(scores: Tensor, sharpness: float = SHARPNESS, iterations: int = ITERATIONS) -> Tensor:
    """Soft clusters [B, K] of scores [B, K] that all clusters share equally (Sinkhorn-Knopp, equation 3)."""
    shares = ((scores - scores.max()) / sharpness).exp()
    for _ in range(iterations):
        shares = shares / shares.sum(dim=0, keepdim=True)
        shares = shares / shares.sum(dim=1, keepdim=True)
    return shares


def swapped_prediction(scores: Tensor, views: int) -> Tensor:
    """Cross-entropy of scores [V, B, K] with the clusters of every other view among the first `views`, averaged."""
    wanted = torch.stack([assignments(view) for view in scores[:views]])
    terms = -torch.einsum("tbk,vbk->tv", wanted, (scores / TEMPERATURE).log_softmax(dim=-1)) / scores.shape[1]
    others = 1 - torch.eye(*terms.shape, device=terms.device)
    return (terms * others).sum() / others.sum()


class SwAV(JointMethod):
    """Clustering: every batch is spread over all clusters, so that images cannot all be in one."""

    default_views: ClassVar[str] = "multicrop"
    takes_small_views: ClassVar[bool] = True

    @classmethod
    def head(cls, width: int) -> nn.Module:
        return PrototypeHead((width, HIDDEN * width, WIDTH), PROTOTYPES)

    def loss(self, inputs: Inputs) -> Tensor:
        scores = gathered(all_views(self.context_encoder, self.projector, inputs))
        with full_precision(scores):
            return swapped_prediction(scores, len(inputs.views))
