"""Baselines of every evaluation: raw pixels, and an untrained encoder of the same shape."""

import math
from typing import Any

import torch
from torch import Tensor

from openjepa.data.crops import Frame, standardise
from openjepa.data.decoding.pixel_format import PixelFormat
from openjepa.encoder.encoder import Encoder
from openjepa.encoder.foreign import ForeignEncoder
from openjepa.models.vit import VisionTransformer, patchify

PIXELS = 32, 32  # rows and columns, whatever the encoder: a baseline depends on the images alone


class Pixels:
    """Raw pixels as features: whole images at 32x32 px, flattened [B, C*H*W].

    8-bit values are divided by 255. Where `mean` and `std` are given, for numbers of any range, they are standardised.
    """

    name = "pixels"
    pixel_format = None
    statistics: tuple[list[float], list[float]] | None = None

    def __init__(
        self,
        image_size: tuple[int, int] = PIXELS,
        mean: list[float] | None = None,
        std: list[float] | None = None,
        max_stretch: float = math.inf,
    ) -> None:
        self.image_size, self.frame = image_size, Frame(image_size, max_stretch)
        if mean and std:
            self.statistics = mean, std

    def features(self, images: Tensor) -> Tensor:
        """[B, C, H, W] to float32 [B, C*H*W]."""
        return (standardise(images, *self.statistics) if self.statistics else as_fractions(images)).flatten(1)


def pixels_beside(pixel_format: PixelFormat, mean: list[float], std: list[float]) -> Pixels:
    """The raw pixels to compare with an encoder that reads images so."""
    return Pixels(mean=mean, std=std) if pixel_format.values == "raw" else Pixels()


def as_fractions(images: Tensor) -> Tensor:
    """8-bit values divided by 255, others as they are: float32."""
    return images.float() / 255 if images.dtype == torch.uint8 else images


class PatchPixels:
    """The raw pixels of each patch as its token [B, N, C * patch_size**2], for tasks on patch tokens."""

    name = "pixels"
    pixel_format = None

    def __init__(self, image_size: tuple[int, int], patch_size: int, max_stretch: float = 0.0) -> None:
        self.image_size, self.patch_size, self.frame = image_size, patch_size, Frame(image_size, max_stretch)
        self.grid_size = (image_size[0] // patch_size, image_size[1] // patch_size)

    def features(self, images: Tensor) -> Tensor:
        """[B, C, H, W] to float32 [B, C*H*W]."""
        return as_fractions(images).flatten(1)

    def tokens(self, images: Tensor) -> Tensor:
        """[B, C, H, W] to float32 [B, N, C * patch_size**2]."""
        return patchify(as_fractions(images), self.patch_size)


def seeded(seed: int, **arguments: Any) -> VisionTransformer:
    """A freshly initialised network; the same for the same seed, and torch's global generator does not change."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return VisionTransformer(**arguments)


def has_first_weights(encoder: Encoder) -> bool:
    """Whether first weights can be drawn for the network of an encoder: not for one of a program."""
    return isinstance(encoder, ForeignEncoder) or isinstance(encoder.network, VisionTransformer)


def untrained_like(encoder: Encoder, seed: int = 0) -> Encoder:
    """An untrained encoder with the shape, initialisation, preprocessing, device and precision of another."""
    if isinstance(encoder, ForeignEncoder):
        return encoder.untrained(seed)
    network = seeded(seed, **encoder.vit.arguments())
    how = encoder.device, encoder.precision, encoder.pixel_format, encoder.max_stretch
    return Encoder(network, encoder.mean, encoder.std, "untrained", *how)
