"""From an image to an array of the model's size: random resized crops to train, one fixed rule to measure."""

import functools
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from PIL.Image import Resampling
from torch import Tensor

from openjepa.data.decoding.pixel_format import Pixels

Box = tuple[float, float, float, float]  # left, top, right, bottom, in pixels

ROUNDING = 1e-9


class Frame(NamedTuple):
    """What a model sees of an image, and at what `size` (rows, columns) in pixels.

    An image whose width over height differs from that of `size` by a factor of up to 1 + `max_stretch` is seen whole,
    stretched to `size`; of another one the largest centred box with the proportions of `size` is seen. Of either, the
    central `zoom` (a fraction of each side) alone is seen where it is less than 1. `kernel` resizes.
    """

    size: tuple[int, int]
    max_stretch: float = 0.0
    zoom: float = 1.0
    kernel: Resampling = Resampling.BICUBIC

    def box(self, width: float, height: float) -> Box:
        """The box that is seen of an image of `width` x `height` pixels."""
        aspect = self.size[1] / self.size[0]
        whole = stretch(width, height, self.size) <= 1 + self.max_stretch + ROUNDING
        left, top, right, bottom = (0.0, 0.0, width, height) if whole else centre_box(width, height, aspect)
        across, down = (right - left) * (1 - self.zoom) / 2, (bottom - top) * (1 - self.zoom) / 2
        return left + across, top + down, right - across, bottom - down

    def fraction(self, width: float, height: float) -> float:
        """The fraction of the pixels of an image of `width` x `height` that is seen."""
        left, top, right, bottom = self.box(width, height)
        return (right - left) * (bottom - top) / (width * height)


def stretch(width: float, height: float, size: tuple[int, int]) -> float:
    """The factor, at least 1, by which the proportions of an image change when it is resized to `size`."""
    factor = width * size[0] / (height * size[1])
    return max(factor, 1 / factor)


def crop_box(width: int, height: int, scale: tuple[float, float], aspect: float, rng: np.random.Generator) -> Box:
    """A random box (left, top, right, bottom) in pixels covering a fraction in the range `scale` of the image.

    Its width over height is log-uniform in [3/4, 4/3] times `aspect`; after ten tries that do not fit, the largest
    centred box within these bounds (Szegedy et al. 2015, arXiv 1409.4842, section 6, as torchvision's
    RandomResizedCrop).
    """
    for u in rng.random((10, 4)):
        area = width * height * (scale[0] + u[0] * (scale[1] - scale[0]))
        ratio = aspect * (4 / 3) ** (2 * u[1] - 1)
        w, h = (area * ratio) ** 0.5, (area / ratio) ** 0.5
        if w <= width and h <= height:
            left, top = u[2] * (width - w), u[3] * (height - h)
            return left, top, left + w, top + h
    return centre_box(width, height, min(max(width / height, aspect * 3 / 4), aspect * 4 / 3))


def centre_box(width: float, height: float, aspect: float) -> Box:
    """The largest centred box (left, top, right, bottom) whose width over height is `aspect`."""
    w, h = min(width, height * aspect), min(height, width / aspect)
    left, top = (width - w) / 2, (height - h) / 2
    return left, top, left + w, top + h


def random_resized_crop(
    image: Pixels, size: tuple[int, int], scale: tuple[float, float], rng: np.random.Generator
) -> np.ndarray:
    """A random crop resized to `size` (rows, columns) by antialiased bilinear: [H, W, C], dtype kept."""
    width, height = size_of(image)
    return resized(image, size, crop_box(width, height, scale, size[1] / size[0], rng), Resampling.BILINEAR)


def oriented_crop(image: Pixels, size: tuple[int, int], box: Box, orientation: int) -> np.ndarray:
    """A box of an image in one of the eight orientations of a square, 0 as it is, by antialiased bilinear: [H, W, C].

    It is turned by `orientation` % 4 quarters, then, from 4 on, mirrored; it has `size` (rows, columns) once turned.
    """
    turned = np.rot90(resized(image, cut_size(size, orientation), box, Resampling.BILINEAR), orientation % 4)
    return np.ascontiguousarray(turned[:, ::-1] if orientation >= 4 else turned)


def cut_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """The size (rows, columns) at which a crop is cut so that it has `size` once it is turned."""
    return size[::-1] if orientation % 2 else size


def resize_centre_crop(
    image: Pixels,
    size: tuple[int, int],
    max_stretch: float = 0.0,
    zoom: float = 1.0,
    kernel: Resampling = Resampling.BICUBIC,
) -> np.ndarray:
    """What `Frame(size, max_stretch, zoom, kernel)` shows of an image, antialiased, in one pass: [H, W, C]."""
    return resized(image, size, Frame(size, max_stretch, zoom).box(*size_of(image)), kernel)


def size_of(image: Pixels) -> tuple[int, int]:
    """(width, height) in pixels."""
    return image.size if isinstance(image, Image.Image) else image.shape[1::-1]


def resized(
    image: Pixels,
    size: tuple[int, int],
    box: Box,
    kernel: Resampling = Resampling.BICUBIC,
) -> np.ndarray:
    """A box of an image at `size` (rows, columns), channel by channel, antialiased: [H, W, C], dtype kept."""
    if isinstance(image, Image.Image):
        return np.asarray(image.resize(size[::-1], kernel, box=box)).reshape(*size, -1)
    bands = (Image.fromarray(np.ascontiguousarray(image[..., band])) for band in range(image.shape[2]))
    small = [np.asarray(band.resize(size[::-1], kernel, box=box)) for band in bands]
    return np.stack(small, axis=2)


def as_picture(image: np.ndarray) -> np.ndarray:
    """An image [H, W, C] for display, uint8 [H, W, 3]: its first three channels or, of fewer, the first in grey.

    8-bit values are kept; of others, the 2nd to the 98th percentile of each channel is mapped to 0 to 255.
    """
    shown = image[..., :3] if image.shape[2] >= 3 else image[..., :1]
    if shown.dtype != np.uint8:
        low, high = np.percentile(shown, (2, 98), axis=(0, 1))
        fractions = (shown - low) / np.where(high > low, high - low, 1)
        shown = (fractions.clip(0, 1) * 255).round().astype(np.uint8)
    return np.ascontiguousarray(shown if shown.shape[2] == 3 else shown.repeat(3, axis=2))


def standardise(images: Tensor, mean: list[float], std: list[float]) -> Tensor:
    """Images [B, C, H, W] to float32 of about zero mean and unit variance a channel; uint8 ones are taken as / 255."""
    full = 255 if images.dtype == torch.uint8 else 1
    shift, scale = (channel_values(tuple(values), full, images.device) for values in (mean, std))
    return (images - shift) / scale


@functools.lru_cache(maxsize=64)
def channel_values(values: tuple[float, ...], full: int, device: torch.device) -> Tensor:
    """Values of the channels times `full`, [C, 1, 1] float32, kept on the device: copying them waits for its queue."""
    return torch.tensor(values, device=device).view(-1, 1, 1) * full
