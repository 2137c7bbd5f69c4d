"""What the scores read of an image: one feature for each patch, from chosen layers, with its neighbours."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor

from openjepa.encoder.encoder import Encoder
from openjepa.encoder.features import Model
from openjepa.encoder.foreign import ForeignEncoder
from openjepa.errors import UsageError
from openjepa.models.protocol import HasLayers

WIDEST = 256  # numbers of a feature; wider ones are projected
EPSILON = 1e-6


@runtime_checkable
class PatchModel(Model, Protocol):
    """A model that gives patch tokens [B, N, D] float32 on the CPU, for a grid of N = rows * columns patches."""

    @property
    def grid_size(self) -> tuple[int, int]: ...

    def tokens(self, images: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class PatchSettings:
    """How patch features are made.

    layers    the last so many blocks of the encoder, side by side; 1 of a model without layers
    pool      each patch is the mean over so many rows and columns of patches around it (odd; 1: itself alone)
    lighting  whether features are standardised within each image, which removes what all of its patches share
    """

    layers: int = 2
    pool: int = 1
    lighting: bool = False


class PatchFeatures:
    """Preprocessed images [B, C, H, W] to features [B, N, W], float32 on the CPU; N patches, W at most `WIDEST`."""

    def __init__(self, model: PatchModel, settings: PatchSettings) -> None:
        self.model, self.settings = model, settings
        self.projections: dict[int, Tensor] = {}

    def __call__(self, images: Tensor) -> Tensor:
        return self.described(self.tokens(images))

    def described(self, tokens: Tensor) -> Tensor:
        """The features of what `tokens` gave."""
        tokens = pooled(tokens, self.model.grid_size, self.settings.pool)
        if self.settings.lighting:
            tokens = within_image(tokens)
        return self.narrowed(tokens)

    def tokens(self, images: Tensor) -> Tensor:
        """Patch tokens of the layers side by side, [B, N, layers * D]."""
        if self.settings.layers == 1 or not isinstance(self.model, Encoder):
            return self.model.tokens(images)
        return layer_tokens(self.model, images, self.settings.layers)

    def narrowed(self, tokens: Tensor) -> Tensor:
        """Tokens [B, N, W] by a random orthogonal projection, the same in every process, where they are too wide."""
        width = tokens.shape[-1]
        if width <= WIDEST:
            return tokens
        if width not in self.projections:
            self.projections[width] = orthogonal(width, WIDEST)
        return tokens @ self.projections[width]


def check_pool(pool: int, model: PatchModel) -> int:
    """An odd number of patches that the grid of the model has; raises UsageError for another."""
    if not 1 <= pool <= min(*model.grid_size, 99) or pool % 2 == 0:
        rows, columns = model.grid_size
        raise UsageError(
            f"--pool {pool} is not possible: give an odd number that a grid of {rows}x{columns} patches has"
        )
    return pool


def feature_width(model: PatchModel, settings: PatchSettings) -> int:
    """Numbers of a feature."""
    blank = torch.zeros(1, channels_of(model), *model.image_size)
    return PatchFeatures(model, settings)(blank).shape[-1]


def channels_of(model: PatchModel) -> int:
    """Channels of the images that a model reads."""
    return 3 if model.pixel_format is None else model.pixel_format.channels


def check_patch_model(model: Model) -> PatchModel:
    """The model, if it has patch tokens; raises UsageError for another one."""
    lacks = isinstance(model, ForeignEncoder) and not model.has_tokens
    if lacks or not isinstance(model, PatchModel):
        raise UsageError(f"{model.name} has no patch tokens, which anomalies are found by: give an encoder that has")
    return model


def most_layers(model: PatchModel, wanted: int) -> int:
    """How many of the `wanted` layers a model gives: 1 of one without layers."""
    if not isinstance(model, Encoder) or not isinstance(model.network, HasLayers):
        return 1
    blocks = getattr(model.network, "blocks", None)
    return wanted if blocks is None else min(wanted, len(blocks))


@torch.inference_mode()
def layer_tokens(encoder: Encoder, images: Tensor, count: int) -> Tensor:
    """Patch tokens of the last `count` blocks side by side, [B, N, count * D] float32 on the CPU."""
    network = encoder.network
    if not isinstance(network, HasLayers):
        raise UsageError(f"{encoder.name} is a {type(network).__name__}, which has no layers: give 1 layer")
    parts = []
    for part in encoder.parts(images):
        with encoder.arithmetic():
            layers = network.layers(encoder.standardised(part), count)
        parts.append(torch.cat([tokens.float().cpu() for tokens in layers], dim=-1))
    return torch.cat(parts)


def pooled(tokens: Tensor, grid_size: tuple[int, int], side: int) -> Tensor:
    """Tokens [B, N, D], each the mean over the `side` x `side` patches around it that lie in the image."""
    if side == 1:
        return tokens
    maps = tokens.transpose(1, 2).unflatten(2, grid_size)
    mean = F.avg_pool2d(maps, side, stride=1, padding=side // 2, count_include_pad=False)
    return mean.flatten(2).transpose(1, 2)


def within_image(tokens: Tensor) -> Tensor:
    """Tokens [B, N, D] with mean 0 and variance 1 over the patches of each image, number by number."""
    centred = tokens - tokens.mean(dim=1, keepdim=True)
    return centred / (centred.square().mean(dim=1, keepdim=True).sqrt() + EPSILON)


def orthogonal(rows: int, columns: int) -> Tensor:
    """A matrix [rows, columns] whose columns are random directions at right angles; always the same."""
    noise = torch.randn(rows, columns, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return torch.linalg.qr(noise).Q.float()
