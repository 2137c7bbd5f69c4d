"""SimSiam (Chen and He, CVPR 2021, arXiv 2011.10566): predict the other view's projection, without its gradient."""

import torch.nn.functional as F
from torch import Tensor, nn

from openjepa.methods.base import Inputs
from openjepa.methods.joint.base import JointMethod, full_precision, project
from openjepa.methods.joint.heads import HIDDEN, mlp
from openjepa.models.protocol import PatchEncoder


def both_directions(predicted: Tensor, targets: Tensor) -> Tensor:
    """The cosine of each view's prediction with the other view's target, averaged: [2, B, P] each -> scalar."""
    return F.cosine_similarity(predicted, targets.flip(0), dim=-1).mean()


class SimSiam(JointMethod):
    """Asymmetric: one side has a predictor, the other no gradient; together they keep embeddings from collapsing."""

    def __init__(self, context_encoder: PatchEncoder, projector: nn.Module) -> None:
        super().__init__(context_encoder, projector)
        width = context_encoder.embed_dim
        self.predictor = mlp(HIDDEN * width, width, HIDDEN * width)  # a bottleneck of a quarter, as in section 3

    @classmethod
    def head(cls, width: int) -> nn.Module:
        return mlp(width, HIDDEN * width, HIDDEN * width, HIDDEN * width, last_norm=True)

    def loss(self, inputs: Inputs) -> Tensor:
        projected = project(self.context_encoder, self.projector, inputs.views)
        predicted = self.predictor(projected).float()
        with full_precision(predicted):
            return -both_directions(predicted, projected.detach())
