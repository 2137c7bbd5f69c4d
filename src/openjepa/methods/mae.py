"""Masked autoencoder (He et al., CVPR 2022, arXiv 2111.06377): predict pixels with the same networks as I-JEPA."""

from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor

from openjepa.methods.base import Inputs
from openjepa.methods.masked import MaskedMethod, build_predictor
from openjepa.models.predictor import Predictor
from openjepa.models.protocol import PatchEncoder
from openjepa.models.vit import patchify, take


def pixel_targets(images: Tensor, target_ids: Tensor, patch_size: int) -> Tensor:
    """Pixels, of zero mean and unit variance in every patch (section 3): [B, M, Nt, C * patch_size**2]."""
    pixels = patchify(images, patch_size)
    return take(F.layer_norm(pixels, pixels.shape[-1:], eps=1e-6), target_ids)


def patch_pixels(encoder: PatchEncoder) -> int:
    """Numbers in a patch: C * patch_size**2."""
    return encoder.in_chans * encoder.patch_size**2


class MAE(MaskedMethod):
    """Predict the normalised pixels of the hidden patches from the visible ones; `predictor` is the paper's decoder."""

    default_masks: ClassVar[str] = "random"
    predicts_all_hidden: ClassVar[bool] = True
    unused_settings: ClassVar = dict.fromkeys(("loss", "ema_momentum"), "mae predicts pixels, by their squared error")
    # No target encoder is shared between masks, and every hidden patch is a target.
    recipe_overrides: ClassVar = {
        "laptop": {
            "context_ratio": 0.25,
            "batch_size": 64,
            "masks_per_image": 1,
            "predictor_dim": 64,
            "weight_decay": (0.05, 0.05),
        }
    }

    @classmethod
    def build(cls, encoder: PatchEncoder, predictor: Predictor | None = None, **settings: Any) -> "MAE":
        return cls(encoder, predictor or build_predictor(encoder, patch_pixels(encoder), **settings))

    def loss(self, inputs: Inputs) -> Tensor:
        context_ids, target_ids = inputs.masks
        targets = self.targets(inputs.images, target_ids)
        return F.mse_loss(self.predict(inputs.images, context_ids, target_ids).float(), targets.float())

    def targets(self, images: Tensor, target_ids: Tensor) -> Tensor:
        """Normalised pixels: [B, M, Nt, C * patch_size**2]."""
        return pixel_targets(images, target_ids, self.context_encoder.patch_size)
