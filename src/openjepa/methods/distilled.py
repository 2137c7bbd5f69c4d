"""I-JEPA with a frozen teacher: the targets are the representations of an encoder that is already trained."""

from typing import Any, ClassVar, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from openjepa.methods.ijepa import RepresentationMethod
from openjepa.methods.masked import build_predictor
from openjepa.models.predictor import Predictor
from openjepa.models.protocol import PatchEncoder
from openjepa.models.vit import take


class Teacher(Protocol):
    """A frozen encoder: the images of a step [B, C, H, W] to patch tokens [B, N, T] on the grid of the context encoder.

    It is no part of the method's state: checkpoints and the optimizer do not have it.
    """

    @property
    def embed_dim(self) -> int: ...

    def __call__(self, images: Tensor) -> Tensor: ...


class Distilled(RepresentationMethod):
    """Predict the representations that a teacher has of the target patches, seeing all of the image.

    The last layer of the predictor projects to the teacher's width. The encoder that people use is the one that
    gradients change; nothing follows it.
    """

    unused_settings: ClassVar = {"ema_momentum": "the target encoder is a frozen teacher"}

    def __init__(
        self, context_encoder: PatchEncoder, predictor: Predictor, teacher: Teacher, distance: str = "smooth_l1"
    ) -> None:
        """`distance` of predictions and targets: "smooth_l1" or "l2"."""
        super().__init__(context_encoder, predictor, distance)
        self.teacher = teacher

    @classmethod
    def build(
        cls,
        encoder: PatchEncoder,
        predictor: Predictor | None = None,
        *,
        teacher: Teacher | None = None,
        loss: str = "smooth_l1",
        **settings: Any,
    ) -> "Distilled":
        """Raises ValueError without a teacher."""
        if teacher is None:
            raise ValueError("this method needs a teacher")
        return cls(encoder, predictor or build_predictor(encoder, teacher.embed_dim, **settings), teacher, loss)

    @torch.no_grad()
    def targets(self, images: Tensor, target_ids: Tensor) -> Tensor:
        """The teacher's representations of target patches, each of zero mean and unit variance: [B, M, Nt, T]."""
        tokens = self.teacher(images)
        return take(F.layer_norm(tokens, tokens.shape[-1:]), target_ids)
