"""A method with a projector and two crops of each image, as SimCLR has them: for the contract without masks."""

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from openjepa.methods.base import Inputs, Method
from openjepa.models.predictor import Predictor
from openjepa.models.vit import VisionTransformer


class TwoViews(Method):
    """Tell the other crop of an image from the crops of the other images (Chen et al. 2020, arXiv 2002.05709)."""

    views: ClassVar[int] = 2

    def __init__(self, context_encoder: VisionTransformer, projector: nn.Module) -> None:
        super().__init__(context_encoder)
        self.projector = projector

    @classmethod
    def build(cls, encoder: VisionTransformer, predictor: Predictor | None = None, **settings: Any) -> "TwoViews":
        width = encoder.embed_dim
        return cls(encoder, nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, 32)))

    def loss(self, inputs: Inputs) -> Tensor:
        embeddings = self.context_encoder(inputs.views.flatten(0, 1)).mean(dim=1)
        z = F.normalize(self.projector(embeddings).float(), dim=1)
        similar = (z @ z.T / 0.2).fill_diagonal_(-torch.inf)
        return F.cross_entropy(similar, torch.arange(len(z), device=z.device).roll(len(z) // 2))
