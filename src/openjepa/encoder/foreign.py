"""Networks of other libraries in use: what they compute through their own code, with their own preprocessing."""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple, Self, TypeGuard

import torch
from torch import Tensor, nn

from openjepa.data.crops import Frame
from openjepa.data.decoding.pixel_format import PixelFormat
from openjepa.encoder.encoder import Encoder
from openjepa.errors import UsageError, unknown

POOLINGS = ("auto", "class", "mean")
AT_ONCE = 32  # images that go through a network at a time on a CPU


class Layout(NamedTuple):
    """How the last layer's output of a network is read.

    grid_size   (rows, columns) of patch tokens, None of a network that has none, as a CNN
    prefix      tokens before them, [0, prefix) of the sequence
    class_token whether the first of these is a class token; the others are registers or the like
    """

    grid_size: tuple[int, int] | None = None
    prefix: int = 0
    class_token: bool = False

    def split(self, pooled: Tensor, sequence: Tensor | None) -> "Outputs":
        """The outputs of a network from its pooled features [B, F] and its sequence [B, prefix + N, D]."""
        if self.grid_size is None or sequence is None:
            return Outputs(pooled, None, None)
        return Outputs(pooled, sequence[:, 0] if self.class_token else None, sequence[:, self.prefix :])


OURS = Layout((1, 1))  # of networks of openjepa, as far as pooling is concerned: patch tokens alone


class Outputs(NamedTuple):
    """What a network computes of images [B, C, H, W].

    pooled      [B, F] its library's features of a whole image
    class_token [B, D] where it has one, after the last layer as the patch tokens
    tokens      [B, N, D] patch tokens, row by row from the top left; None where there are none
    """

    pooled: Tensor
    class_token: Tensor | None
    tokens: Tensor | None


class ForeignNetwork(nn.Module, ABC):
    """A network of another library: `model` is a module of that library, whose parameters are all there are.

    image_size  (rows, columns) in pixels
    embed_dim   width of the patch tokens, or else of the pooled features
    facts       what, beside the weights, decides its outputs: library, version, architecture. JSON-able
    """

    def __init__(
        self,
        model: nn.Module,
        in_chans: int,
        image_size: tuple[int, int],
        embed_dim: int,
        layout: Layout,
        facts: dict[str, Any],
    ) -> None:
        super().__init__()
        self.model, self.in_chans, self.image_size = model.eval(), in_chans, image_size
        self.embed_dim, self.layout, self.facts = embed_dim, layout, facts

    @abstractmethod
    def outputs(self, images: Tensor) -> Outputs:
        """What the network computes of standardised images [B, C, H, W]."""

    @abstractmethod
    def at_size(self, image_size: tuple[int, int]) -> Self:
        """The same network for images of another size (rows, columns). Raises ValueError where it cannot be."""

    @abstractmethod
    def untrained(self, seed: int) -> Self:
        """A network of the same shape with the first weights of its library, the same for the same seed."""

    def arguments(self) -> dict[str, Any]:
        """What, beside the weights, decides its outputs."""
        return {**self.facts, "image_size": self.image_size}

    def forward(self, images: Tensor) -> Tensor:
        """Standardised images [B, C, H, W] to patch tokens [B, N, D]; raises ValueError where there are none."""
        tokens = self.outputs(images).tokens
        if tokens is None:
            raise ValueError("this network has no patch tokens")
        return tokens

    @property
    def grid_size(self) -> tuple[int, int]:
        """(rows, columns) of patch tokens; (1, 1) of a network without."""
        return self.layout.grid_size or (1, 1)

    @property
    def patch_size(self) -> int:
        """Rows of pixels for each row of patch tokens."""
        return self.image_size[0] // self.grid_size[0]


class ForeignEncoder(Encoder):
    """A network of another library with its preprocessing.

    `pooling` makes the embedding: "auto" as its library pools, "class" the class token, "mean" of the patch tokens.
    `frame` is what it sees of an image. Other arguments as of `Encoder`. Raises UsageError for a pooling that the
    network does not have.
    """

    def __init__(
        self,
        network: ForeignNetwork,
        mean: list[float],
        std: list[float],
        frame: Frame,
        pooling: str = "auto",
        name: str = "encoder",
        device: str | torch.device = "cpu",
        precision: torch.dtype = torch.float32,
        licence: str | None = None,
        pixel_format: PixelFormat | None = None,
    ) -> None:
        check_pooling(pooling, network.layout, name)
        as_ours: Any = network  # what `Encoder` uses of a network is there; what is not is overridden below
        super().__init__(as_ours, mean, std, name, device, precision, pixel_format, licence=licence)
        self.pooling, self.seen = pooling, frame

    @property
    def frame(self) -> Frame:
        return self.seen

    @property
    def foreign(self) -> ForeignNetwork:
        network: Any = self.network
        return network

    @property
    def has_tokens(self) -> bool:
        return self.foreign.layout.grid_size is not None

    def tokens(self, images: Tensor) -> Tensor:
        """Preprocessed images [B, C, H, W] to patch tokens [B, N, D] float32 on the CPU; UsageError without them."""
        if not self.has_tokens:
            raise UsageError(f"{self.name} has no patch tokens, only features of whole images")
        return super().tokens(images)

    def parts(self, images: Tensor) -> tuple[Tensor, ...]:
        return images.split(AT_ONCE if self.device.type == "cpu" else len(images))

    def untrained(self, seed: int = 0) -> "ForeignEncoder":
        """An encoder of the same shape and preprocessing with the first weights of its library."""
        how = self.pooling, "untrained", self.device, self.precision, None, self.pixel_format
        return ForeignEncoder(self.foreign.untrained(seed), self.mean, self.std, self.seen, *how)

    def embedding(self, pixels: Tensor) -> Tensor:
        """Standardised images [B, C, H, W] to embeddings [B, F] by the pooling."""
        return self._pooled(self.foreign.outputs(pixels))

    def embedding_and_tokens(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """The embeddings and patch tokens of images; raises UsageError for a network without patch tokens."""
        outputs = self.foreign.outputs(pixels)
        if outputs.tokens is None:
            raise UsageError(f"{self.name} has no patch tokens, only features of whole images")
        return self._pooled(outputs), outputs.tokens

    def _pooled(self, outputs: Outputs) -> Tensor:
        pooled, class_token, tokens = outputs
        if self.pooling == "class" and class_token is not None:
            return class_token
        return tokens.float().mean(dim=1) if self.pooling == "mean" and tokens is not None else pooled


def is_own(model: object) -> TypeGuard[Encoder]:
    """Whether a model is an encoder whose network is one of openjepa's."""
    return isinstance(model, Encoder) and not isinstance(model, ForeignEncoder)


def check_pooling(pooling: str, layout: Layout, name: str) -> None:
    """Raise UsageError for a pooling that a model does not have."""
    if pooling not in POOLINGS:
        raise UsageError(unknown("--pooling", pooling, POOLINGS))
    there = {"auto": True, "class": layout.class_token, "mean": layout.grid_size is not None}
    if not there[pooling]:
        lacks = "class token" if pooling == "class" else "patch tokens"
        have = ", ".join(each for each in POOLINGS if there[each])
        raise UsageError(f"--pooling {pooling} is not possible: {name} has no {lacks}: possible are {have}")
