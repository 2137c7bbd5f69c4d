"""I-JEPA that predicts pixels too: pixels teach from the first step, representations once they carry content."""

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from openjepa.methods.base import Inputs
from openjepa.methods.ijepa import IJEPA
from openjepa.methods.mae import patch_pixels, pixel_targets
from openjepa.methods.masked import build_predictor
from openjepa.models.predictor import Predictor
from openjepa.models.protocol import PatchEncoder


class Hybrid(IJEPA):
    """A target is a representation, as in I-JEPA, followed by the patch's normalised pixels, as in MAE.

    The predictor needs `out_dim` = D + C * patch_size**2; the loss is the sum of both methods' losses.
    """

    can_continue: ClassVar[bool] = False

    @classmethod
    def build(
        cls, encoder: PatchEncoder, predictor: Predictor | None = None, *, loss: str = "smooth_l1", **settings: Any
    ) -> "Hybrid":
        out_dim = encoder.embed_dim + patch_pixels(encoder)
        return cls(encoder, predictor or build_predictor(encoder, out_dim, **settings), loss)

    def loss(self, inputs: Inputs) -> Tensor:
        context_ids, target_ids = inputs.masks
        targets = self.targets(inputs.images, target_ids).float()
        predicted = self.predict(inputs.images, context_ids, target_ids).float()
        width = self.context_encoder.embed_dim
        return self.distance(predicted[..., :width], targets[..., :width]) + F.mse_loss(
            predicted[..., width:], targets[..., width:]
        )

    def targets(self, images: Tensor, target_ids: Tensor) -> Tensor:
        """Representations and normalised pixels: [B, M, Nt, D + C * patch_size**2]."""
        pixels = pixel_targets(images, target_ids, self.context_encoder.patch_size)
        return torch.cat([super().targets(images, target_ids), pixels], dim=-1)
