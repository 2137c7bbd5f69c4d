"""The contract of a method: networks and a loss that train an encoder without labels."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn

from openjepa.models.predictor import Predictor
from openjepa.models.protocol import HasBlocks, PatchEncoder, has_blocks

NO_PREDICTOR = dict.fromkeys(
    ("predictor_dim", "predictor_depth", "predictor_heads", "target_sequences"), "the method has no predictor"
)
NO_TARGET_ENCODER = {
    "ema_momentum": "the method has no target encoder",
    "loss": "the method does not predict representations",
}


class Inputs(NamedTuple):
    """The images of a step, on the device, and where they are masked.

    views [V, B, C, H, W] float32, standardised: V random crops of each of B images. context_ids [B, Nc] and target_ids
    [B, M, Nt] int64, patches of the grid, for a method with `needs_masks`. An image with several masks (multi-mask
    training of data2vec 2.0, arXiv 2212.07525) has masks_per_image consecutive rows of ids. small_views [L, B, C, h, w]
    are L smaller crops of each image, for a method without masks that `takes_small_views`.
    """

    views: Tensor
    context_ids: Tensor | None = None
    target_ids: Tensor | None = None
    small_views: Tensor | None = None

    @property
    def images(self) -> Tensor:
        """The first view, [B, C, H, W]."""
        return self.views[0]

    @property
    def masks(self) -> tuple[Tensor, Tensor]:
        """context_ids and target_ids; raises ValueError where there are none."""
        if self.context_ids is None or self.target_ids is None:
            raise ValueError("this method needs masks, and the batch has none")
        return self.context_ids, self.target_ids

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All tensors, in their order."""
        return tuple(tensor for tensor in self if tensor is not None)


class Parts(NamedTuple):
    """The networks that an artifact stores: the encoder that people use, and what else there is."""

    encoder: PatchEncoder
    context_encoder: PatchEncoder | None = None
    predictor: Predictor | None = None


class Method(nn.Module, ABC):
    """A module that owns all its networks. Subclasses give `build` and `loss`, and override what differs.

    Every parameter that learns belongs to a child module, such as a predictor or a projector. State that training
    changes but no gradient (a queue, a centre) is a buffer, so that checkpoints hold it.

    views             random crops of each image in a batch
    default_views     how they differ, unless --views says otherwise: one of VIEWS
    takes_small_views whether batches may have smaller crops beside them (--views multicrop)
    compares_images   whether the loss compares the images of a batch, or normalises over them: it is then computed for
                      the whole batch, of all processes, at once
    needs_masks       whether batches have masks
    default_masks     the mask strategy, unless --masks names another
    predicts_all_hidden   whether every hidden patch is a target of random masks, and not half of them
    can_continue      whether --init can start it from existing weights, predictor included
    unused_settings   settings that have no effect under it, and why
    recipe_overrides  by recipe, the settings that it changes
    """

    views: ClassVar[int] = 1
    default_views: ClassVar[str] = "crops"
    takes_small_views: ClassVar[bool] = False
    compares_images: ClassVar[bool] = False
    needs_masks: ClassVar[bool] = False
    default_masks: ClassVar[str] = "multiblock"
    predicts_all_hidden: ClassVar[bool] = False
    can_continue: ClassVar[bool] = False
    unused_settings: ClassVar[Mapping[str, str]] = NO_PREDICTOR | NO_TARGET_ENCODER
    recipe_overrides: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    def __init__(self, context_encoder: PatchEncoder) -> None:
        """`context_encoder` is the encoder that gradients change; checkpoints store it under that name."""
        super().__init__()
        self.context_encoder = context_encoder

    @classmethod
    @abstractmethod
    def build(cls, encoder: PatchEncoder, predictor: Predictor | None = None, **settings: Any) -> "Method":
        """The method around a fresh encoder.

        `settings` are all settings of a run by their names; take those that are needed as keywords. `predictor` is an
        existing one, given only where `can_continue`.
        """

    @abstractmethod
    def loss(self, inputs: Inputs) -> Tensor:
        """The loss of a batch, a scalar with gradient."""

    def forward(self, inputs: Inputs) -> Tensor:
        """The loss: what is called to train, also where gradients are averaged over processes."""
        return self.loss(inputs)

    def after_step(self, schedule: Mapping[str, float]) -> None:
        """What follows an optimizer step; `schedule` has its lr, weight_decay and ema_momentum."""

    @property
    def encoder(self) -> PatchEncoder:
        """The encoder that people use."""
        return self.context_encoder

    @property
    def has_target_encoder(self) -> bool:
        """Whether the encoder that people use follows the one that gradients change."""
        return self.encoder is not self.context_encoder

    def networks(self) -> list[HasBlocks]:
        """The networks that consist of transformer blocks, which can be compiled, checkpointed and sharded."""
        return [network for network in self.children() if has_blocks(network)]

    def learning_modules(self) -> list[nn.Module]:
        """The child modules that the optimizer changes, in the order in which checkpoints number their parameters."""
        return [child for child in self.children() if any(p.requires_grad for p in child.parameters())]

    def parts(self) -> Parts:
        """The networks to export."""
        return Parts(self.encoder, self.context_encoder if self.has_target_encoder else None)
