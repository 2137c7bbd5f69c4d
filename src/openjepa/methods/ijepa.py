"""I-JEPA (Assran et al., CVPR 2023, arXiv 2301.08243): the whole method, top to bottom as in its figure 3."""

import copy
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from openjepa.methods.base import Inputs
from openjepa.methods.ema import follow
from openjepa.methods.masked import MaskedMethod, build_predictor
from openjepa.models.predictor import Predictor
from openjepa.models.protocol import PatchEncoder
from openjepa.models.vit import take

LOSSES: dict[str, Callable[..., Tensor]] = {"smooth_l1": F.smooth_l1_loss, "l2": F.mse_loss}


class RepresentationMethod(MaskedMethod):
    """The loss of methods whose targets are representations: the `distance` of predictions and targets."""

    def __init__(self, context_encoder: PatchEncoder, predictor: Predictor, distance: str = "smooth_l1") -> None:
        """`distance` of predictions and targets: "smooth_l1" or "l2"."""
        super().__init__(context_encoder, predictor)
        self.distance = LOSSES[distance]

    def loss(self, inputs: Inputs) -> Tensor:
        context_ids, target_ids = inputs.masks
        targets = self.targets(inputs.images, target_ids)
        predicted = self.predict(inputs.images, context_ids, target_ids)
        return self.distance(predicted.float(), targets.float())


class IJEPA(RepresentationMethod):
    """Predict the representations of target blocks from one context block of the same image."""

    can_continue: ClassVar[bool] = True

    def __init__(self, context_encoder: PatchEncoder, predictor: Predictor, distance: str = "smooth_l1") -> None:
        super().__init__(context_encoder, predictor, distance)
        self.target_encoder = copy.deepcopy(context_encoder).requires_grad_(False)

    @classmethod
    def build(
        cls, encoder: PatchEncoder, predictor: Predictor | None = None, *, loss: str = "smooth_l1", **settings: Any
    ) -> "IJEPA":
        return cls(encoder, predictor or build_predictor(encoder, encoder.embed_dim, **settings), loss)

    @torch.no_grad()
    def targets(self, images: Tensor, target_ids: Tensor) -> Tensor:
        """Representations of target patches, encoded in sight of the full image and normalised: [B, M, Nt, D]."""
        tokens = self.target_encoder(images)
        tokens = F.layer_norm(tokens, tokens.shape[-1:])
        return take(tokens, target_ids)

    def after_step(self, schedule: Mapping[str, float]) -> None:
        self.update_target_encoder(schedule["ema_momentum"])

    def update_target_encoder(self, ema_momentum: float) -> None:
        """target <- ema_momentum * target + (1 - ema_momentum) * context, parameter by parameter."""
        follow(self.target_encoder, self.context_encoder, ema_momentum)

    @property
    def encoder(self) -> PatchEncoder:
        return self.target_encoder
