"""From a PIL image to a uint8 array of the model's size: random resized crops to train, one fixed rule to measure."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def crop_box(
    width: int, height: int, scale: tuple[float, float], aspect: float, rng: np.random.Generator
) -> tuple[float, float, float, float]:
    """A random box (left, top, right, bottom) in pixels covering a share `scale` of the image.

    Its width over height is log-uniform in [3/4, 4/3] times `aspect`; after ten tries that do not fit, the largest
    centred box of that aspect (Szegedy et al. 2015, arXiv 1409.4842, section 6, as torchvision's RandomResizedCrop).
    """
    for u in rng.random((10, 4)):
        area = width * height * (scale[0] + u[0] * (scale[1] - scale[0]))
        ratio = aspect * (4 / 3) ** (2 * u[1] - 1)
        w, h = (area * ratio) ** 0.5, (area / ratio) ** 0.5
        if w <= width and h <= height:
            left, top = u[2] * (width - w), u[3] * (height - h)
            return left, top, left + w, top + h
    return centre_box(width, height, aspect)


def centre_box(width: int, height: int, aspect: float) -> tuple[float, float, float, float]:
    """The largest centred box (left, top, right, bottom) whose width over height is `aspect`."""
    w, h = min(width, height * aspect), min(height, width / aspect)
    left, top = (width - w) / 2, (height - h) / 2
    return left, top, left + w, top + h


def random_resized_crop(
    image: Image.Image, size: tuple[int, int], scale: tuple[float, float], rng: np.random.Generator
) -> np.ndarray:
    """A random crop resized to `size` (rows, columns) by antialiased bicubic: uint8 [H, W, 3]."""
    box = crop_box(image.width, image.height, scale, size[1] / size[0], rng)
    return np.asarray(image.resize(size[::-1], Image.Resampling.BICUBIC, box=box))


def resize_centre_crop(image: Image.Image, size: tuple[int, int]) -> np.ndarray:
    """Shorter side to `size` (rows, columns), then the centre, antialiased bicubic, in one pass: uint8 [H, W, 3]."""
    box = centre_box(image.width, image.height, size[1] / size[0])
    return np.asarray(image.resize(size[::-1], Image.Resampling.BICUBIC, box=box))


def standardise(images: Tensor, mean: list[float], std: list[float]) -> Tensor:
    """uint8 images [B, C, H, W] to float32 of about zero mean and unit variance a channel."""
    scale = torch.tensor(std, device=images.device).view(-1, 1, 1) * 255
    shift = torch.tensor(mean, device=images.device).view(-1, 1, 1) * 255
    return (images - shift) / scale
