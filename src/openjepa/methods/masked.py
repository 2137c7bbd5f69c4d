"""What methods share that predict the hidden patches of an image from the visible ones."""

from abc import abstractmethod
from typing import Any, ClassVar

from torch import Tensor

from openjepa.methods.base import Method, Parts
from openjepa.models.predictor import Predictor
from openjepa.models.protocol import PatchEncoder


class MaskedMethod(Method):
    """A context encoder that sees the visible patches, and a predictor of what belongs at the hidden ones."""

    needs_masks: ClassVar[bool] = True
    unused_settings: ClassVar = {}

    def __init__(self, context_encoder: PatchEncoder, predictor: Predictor) -> None:
        super().__init__(context_encoder)
        self.predictor = predictor

    def predict(self, images: Tensor, context_ids: Tensor, target_ids: Tensor) -> Tensor:
        """Predict the targets from the context: images [B, C, H, W], context_ids [B, Nc] -> [B, M, Nt, T]."""
        context = self.context_encoder(images, context_ids)
        return self.predictor(context, context_ids, target_ids)

    @abstractmethod
    def targets(self, images: Tensor, target_ids: Tensor) -> Tensor:
        """What predictions are compared with: images [B, C, H, W], target_ids [B, M, Nt] -> [B, M, Nt, T]."""

    def parts(self) -> Parts:
        return super().parts()._replace(predictor=self.predictor)


def build_predictor(
    encoder: PatchEncoder,
    out_dim: int,
    *,
    predictor_dim: int,
    predictor_depth: int,
    predictor_heads: int,
    target_sequences: str,
    weight_init: str = "unit",
    **_: Any,
) -> Predictor:
    """A fresh predictor of `out_dim` numbers a patch for the grid of an encoder, by the settings of a run."""
    return Predictor(
        encoder.grid_size,
        encoder.embed_dim,
        predictor_dim,
        predictor_depth,
        predictor_heads,
        out_dim=out_dim,
        weight_init=weight_init,
        joint=target_sequences == "joint",
    )
