"""I-JEPA (Assran et al., CVPR 2023, arXiv 2301.08243): the whole method, top to bottom as in its figure 3."""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from openjepa.models.predictor import Predictor
from openjepa.models.vit import VisionTransformer, take

LOSSES = {"smooth_l1": F.smooth_l1_loss, "l2": F.mse_loss}


class IJEPA(nn.Module):
    """Predict the representations of target blocks from one context block of the same image."""

    def __init__(self, context_encoder: VisionTransformer, predictor: Predictor, loss: str = "smooth_l1") -> None:
        super().__init__()
        self.context_encoder = context_encoder
        self.target_encoder = copy.deepcopy(context_encoder).requires_grad_(False)
        self.predictor = predictor
        self.loss = LOSSES[loss]

    def forward(self, images: Tensor, context_ids: Tensor, target_ids: Tensor) -> Tensor:
        """The loss, a scalar: images [B, C, H, W], context_ids [B, Nc], target_ids [B, M, Nt]."""
        targets = self.targets(images, target_ids)
        predicted = self.predict(images, context_ids, target_ids)
        return self.loss(predicted.float(), targets.float())

    def predict(self, images: Tensor, context_ids: Tensor, target_ids: Tensor) -> Tensor:
        """What the context says of the targets: [B, M, Nt, D]."""
        context = self.context_encoder(images, context_ids)
        return self.predictor(context, context_ids, target_ids)

    @torch.no_grad()
    def targets(self, images: Tensor, target_ids: Tensor) -> Tensor:
        """What the targets are: encoded in sight of the full image, normalised, then selected: [B, M, Nt, D]."""
        tokens = self.target_encoder(images)
        tokens = F.layer_norm(tokens, tokens.shape[-1:])
        return take(tokens, target_ids)

    @torch.no_grad()
    def update_target_encoder(self, ema_momentum: float) -> None:
        """target <- ema_momentum * target + (1 - ema_momentum) * context, parameter by parameter."""
        targets, contexts = list(self.target_encoder.parameters()), list(self.context_encoder.parameters())
        torch._foreach_lerp_(targets, contexts, 1 - ema_momentum)
