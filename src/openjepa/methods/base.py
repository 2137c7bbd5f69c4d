"""What a training run asks of a method: I-JEPA, and the others that train the same encoder."""

from typing import Protocol

from torch import Tensor

from openjepa.models.predictor import Predictor
from openjepa.models.vit import VisionTransformer


class Method(Protocol):
    """Networks and a loss. `target_encoder` is the encoder that people use; it may be the context encoder itself.

    images [B, C, H, W] standardised; context_ids [B, Nc] and target_ids [B, M, Nt] int64 patches of the grid. Where
    an image is given several masks (multi-mask training of data2vec 2.0, arXiv 2212.07525), the ids and what
    comes of them have B * masks_per_image rows, those of an image one after the other.
    """

    context_encoder: VisionTransformer
    predictor: Predictor

    @property
    def target_encoder(self) -> VisionTransformer: ...

    def __call__(self, images: Tensor, context_ids: Tensor, target_ids: Tensor) -> Tensor:
        """The loss, a scalar."""
        ...

    def predict(self, images: Tensor, context_ids: Tensor, target_ids: Tensor) -> Tensor:
        """Predicted targets [B, M, Nt, T] from the context alone."""
        ...

    def targets(self, images: Tensor, target_ids: Tensor) -> Tensor:
        """What the predictions are compared with: [B, M, Nt, T], without gradient."""
        ...

    def update_target_encoder(self, ema_momentum: float) -> None:
        """What follows an optimizer step."""
        ...
