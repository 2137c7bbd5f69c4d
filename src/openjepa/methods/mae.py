"""Masked autoencoder (He et al., CVPR 2022, arXiv 2111.06377): the rival that predicts pixels, same parts as I-JEPA."""

import torch.nn.functional as F
from torch import Tensor, nn

from openjepa.models.predictor import Predictor
from openjepa.models.vit import VisionTransformer, patchify, take


def pixel_targets(images: Tensor, target_ids: Tensor, patch_size: int) -> Tensor:
    """Pixels, of zero mean and unit variance in every patch (section 3): [B, M, Nt, C * patch_size**2]."""
    pixels = patchify(images, patch_size)
    return take(F.layer_norm(pixels, pixels.shape[-1:], eps=1e-6), target_ids)


class MAE(nn.Module):
    """Predict the normalised pixels of the hidden patches from the visible ones; `predictor` is the paper's decoder."""

    def __init__(self, context_encoder: VisionTransformer, predictor: Predictor) -> None:
        super().__init__()
        self.context_encoder = context_encoder
        self.predictor = predictor

    @property
    def target_encoder(self) -> VisionTransformer:
        """The encoder that people use: there is only one."""
        return self.context_encoder

    def forward(self, images: Tensor, context_ids: Tensor, target_ids: Tensor) -> Tensor:
        """The loss, a scalar: images [B, C, H, W], context_ids [B, Nc], target_ids [B, M, Nt]."""
        targets = self.targets(images, target_ids)
        return F.mse_loss(self.predict(images, context_ids, target_ids).float(), targets.float())

    def predict(self, images: Tensor, context_ids: Tensor, target_ids: Tensor) -> Tensor:
        """What the visible patches say of the hidden ones: [B, M, Nt, C * patch_size**2]."""
        context = self.context_encoder(images, context_ids)
        return self.predictor(context, context_ids, target_ids)

    def targets(self, images: Tensor, target_ids: Tensor) -> Tensor:
        """Normalised pixels: [B, M, Nt, C * patch_size**2]."""
        return pixel_targets(images, target_ids, self.context_encoder.patch_size)

    def update_target_encoder(self, ema_momentum: float) -> None:
        """Nothing: the targets are pixels."""
