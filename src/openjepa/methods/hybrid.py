"""I-JEPA that predicts pixels too: they teach at once, while representations must first become worth predicting."""

import torch
import torch.nn.functional as F
from torch import Tensor

from openjepa.methods.ijepa import IJEPA
from openjepa.methods.mae import pixel_targets


class Hybrid(IJEPA):
    """A target is a representation, as in I-JEPA, and behind it the patch's normalised pixels, as in MAE.

    The predictor needs `out_dim` = D + C * patch_size**2; the loss is the sum of both methods' losses.
    """

    def forward(self, images: Tensor, context_ids: Tensor, target_ids: Tensor) -> Tensor:
        """The loss, a scalar: images [B, C, H, W], context_ids [B, Nc], target_ids [B, M, Nt]."""
        targets = self.targets(images, target_ids).float()
        predicted = self.predict(images, context_ids, target_ids).float()
        width = self.context_encoder.embed_dim
        return self.loss(predicted[..., :width], targets[..., :width]) + F.mse_loss(
            predicted[..., width:], targets[..., width:]
        )

    def targets(self, images: Tensor, target_ids: Tensor) -> Tensor:
        """Representations and normalised pixels: [B, M, Nt, D + C * patch_size**2]."""
        pixels = pixel_targets(images, target_ids, self.context_encoder.patch_size)
        return torch.cat([super().targets(images, target_ids), pixels], dim=-1)
