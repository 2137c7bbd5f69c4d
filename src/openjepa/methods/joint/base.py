"""What the methods share that compare views of an image by their embeddings."""

import contextlib
import copy
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from openjepa.methods.base import NO_PREDICTOR, Inputs, Method
from openjepa.methods.ema import follow
from openjepa.methods.joint.processes import gathered
from openjepa.models.predictor import Predictor
from openjepa.models.protocol import PatchEncoder

# A loss that compares images needs many of them in a step, and views that overlap little: scale and mirroring are those
# of SimSiam (arXiv 2011.10566, appendix A); batch, rate and decay are by judgement.
COMPARED = {"crop_scale": (0.2, 1.0), "horizontal_flip": True}
LAPTOP = COMPARED | {"batch_size": 128, "lr": 1e-3, "weight_decay": (0.05, 0.05)}


class JointMethod(Method):
    """An encoder whose embeddings (mean of the patch tokens) go through a projector; the loss is of the projections."""

    views: ClassVar[int] = 2
    default_views: ClassVar[str] = "photometric"
    compares_images: ClassVar[bool] = True
    recipe_overrides: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "laptop": LAPTOP,
        "small": COMPARED,
        "paper": COMPARED,
    }

    def __init__(self, context_encoder: PatchEncoder, projector: nn.Module) -> None:
        super().__init__(context_encoder)
        self.projector = projector

    @classmethod
    def build(cls, encoder: PatchEncoder, predictor: Predictor | None = None, **settings: Any) -> "JointMethod":
        return cls(encoder, cls.head(encoder.embed_dim))

    @classmethod
    @abstractmethod
    def head(cls, width: int) -> nn.Module:
        """A fresh projector of embeddings of that width."""

    def loss(self, inputs: Inputs) -> Tensor:
        projected = gathered(project(self.context_encoder, self.projector, inputs.views))
        with full_precision(projected):
            return self.compare(projected)

    def compare(self, projected: Tensor) -> Tensor:
        """The loss of the projections [2, B, P], float32, of all images of a batch."""
        raise NotImplementedError


class FollowedMethod(JointMethod):
    """A joint method whose targets come from networks that follow those that learn; people use the target encoder."""

    unused_settings: ClassVar[Mapping[str, str]] = NO_PREDICTOR | {"loss": "the method has a loss of its own"}

    def __init__(self, context_encoder: PatchEncoder, projector: nn.Module) -> None:
        super().__init__(context_encoder, projector)
        self.target_encoder = copy.deepcopy(context_encoder).requires_grad_(False)
        self.target_projector = copy.deepcopy(projector).requires_grad_(False)

    @torch.no_grad()
    def targets(self, views: Tensor) -> Tensor:
        """Projections [V, B, P], float32, by the networks that follow."""
        return project(self.target_encoder, self.target_projector, views)

    def after_step(self, schedule: Mapping[str, float]) -> None:
        follow(self.target_encoder, self.context_encoder, schedule["ema_momentum"])
        follow(self.target_projector, self.projector, schedule["ema_momentum"])

    @property
    def encoder(self) -> PatchEncoder:
        return self.target_encoder


def project(encoder: PatchEncoder, projector: nn.Module, views: Tensor) -> Tensor:
    """views [V, B, C, H, W] -> projections [V, B, P], float32."""
    embeddings = encoder(views.flatten(0, 1)).mean(dim=1)
    return projector(embeddings.unflatten(0, views.shape[:2])).float()


def all_views(encoder: PatchEncoder, projector: nn.Module, inputs: Inputs) -> Tensor:
    """Projections [V + L, B, P], float32, of the views and the small views, where there are some."""
    projected = project(encoder, projector, inputs.views)
    if inputs.small_views is None:
        return projected
    return torch.cat([projected, project(encoder, projector, inputs.small_views)])


def full_precision(tensor: Tensor) -> contextlib.AbstractContextManager:
    """Within this context nothing is computed in bfloat16."""
    return torch.autocast(tensor.device.type, enabled=False)
