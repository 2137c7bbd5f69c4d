"""BYOL (Grill et al., NeurIPS 2020, arXiv 2006.07733): predict a slower network's view of another crop."""

from torch import Tensor, nn

from openjepa.methods.base import Inputs
from openjepa.methods.joint.base import FollowedMethod, full_precision, project
from openjepa.methods.joint.heads import HIDDEN, mlp
from openjepa.methods.joint.simsiam import both_directions
from openjepa.models.protocol import PatchEncoder

WIDTH = 256


class BYOL(FollowedMethod):
    """Asymmetric: a predictor on one side, a target network on the other, which follows and gets no gradient."""

    def __init__(self, context_encoder: PatchEncoder, projector: nn.Module) -> None:
        super().__init__(context_encoder, projector)
        self.predictor = mlp(WIDTH, HIDDEN * context_encoder.embed_dim, WIDTH)

    @classmethod
    def head(cls, width: int) -> nn.Module:
        return mlp(width, HIDDEN * width, WIDTH)

    def loss(self, inputs: Inputs) -> Tensor:
        """2 - 2 cos (equation 2), the mean of both directions."""
        targets = self.targets(inputs.views)
        predicted = self.predictor(project(self.context_encoder, self.projector, inputs.views)).float()
        with full_precision(predicted):
            return 2 - 2 * both_directions(predicted, targets)
