"""MoCo v3 (Chen et al., ICCV 2021, arXiv 2104.02057): contrastive, with keys from a network that follows."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from openjepa.methods.base import Inputs
from openjepa.methods.joint.base import FollowedMethod, full_precision, project
from openjepa.methods.joint.heads import HIDDEN, mlp
from openjepa.methods.joint.processes import gathered
from openjepa.models.protocol import PatchEncoder

TEMPERATURE, WIDTH = 0.2, 256  # section 4


def contrast(queries: Tensor, keys: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Cross-entropy of finding the key of the same image, times 2 * temperature (algorithm 1): [B, P] each."""
    scores = F.normalize(queries, dim=1) @ F.normalize(keys, dim=1).T / temperature
    return 2 * temperature * F.cross_entropy(scores, torch.arange(len(scores), device=scores.device))


class MoCoV3(FollowedMethod):
    """Contrastive: as SimCLR, with a predictor on the queries and keys that change slowly."""

    def __init__(self, context_encoder: PatchEncoder, projector: nn.Module) -> None:
        super().__init__(context_encoder, projector)
        self.predictor = mlp(WIDTH, HIDDEN * context_encoder.embed_dim, WIDTH)

    @classmethod
    def head(cls, width: int) -> nn.Module:
        return mlp(width, HIDDEN * width, HIDDEN * width, WIDTH)

    def loss(self, inputs: Inputs) -> Tensor:
        keys = gathered(self.targets(inputs.views))
        projected = project(self.context_encoder, self.projector, inputs.views)
        queries = gathered(self.predictor(projected).float())
        with full_precision(queries):
            return contrast(queries[0], keys[1]) + contrast(queries[1], keys[0])
