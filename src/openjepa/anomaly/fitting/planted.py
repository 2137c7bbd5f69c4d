"""Normal images changed on purpose: under other light, and with defects planted in them. Pure functions of a seed."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

GAIN, CONTRAST, CAST = 0.25, 0.25, 0.08  # largest relative changes
LIGHTS = 2  # other lights, under which each normal image is remembered too
SIZE = 0.04, 0.12  # half an extent of a defect, as a fraction of the shorter side of the image
THIN = 0.015  # half the width of a scar
STRENGTH = 1.5  # standard deviations of the pixels of the image by which a blob is brighter or darker
DEFECTS = "cut", "scar", "blob", "blur"


def relit(images: Tensor, seed: int) -> Tensor:
    """Images [B, C, H, W] with brightness, contrast and the strength of each channel changed at random."""
    rng = np.random.default_rng([seed % 2**64, 0])
    count, channels = images.shape[:2]
    gain, contrast = (
        torch.from_numpy(rng.uniform(1 - most, 1 + most, (count, 1, 1, 1))).float() for most in (GAIN, CONTRAST)
    )
    cast = torch.from_numpy(rng.uniform(1 - CAST, 1 + CAST, (count, channels, 1, 1))).float()
    pixels = images.float()
    middle = pixels.mean(dim=(1, 2, 3), keepdim=True)
    return _as(images, ((pixels - middle) * contrast + middle) * gain * cast)


def planted(images: Tensor, seed: int) -> Tensor:
    """Images [B, C, H, W], each with one defect: a piece of another place, a scar, a blob or a blurred region."""
    rng = np.random.default_rng([seed % 2**64, 1])
    return _as(images, torch.stack([_defective(image, rng) for image in images.float()]))


def _defective(image: Tensor, rng: np.random.Generator) -> Tensor:
    kind = DEFECTS[rng.integers(len(DEFECTS))]
    mask = _region(image.shape[1:], kind, rng)
    return torch.where(mask, _content(image, kind, rng), image)


def _region(size: torch.Size, kind: str, rng: np.random.Generator) -> Tensor:
    """A mask [H, W] of an ellipse, or of a rectangle where it is a scar or a piece that was cut out."""
    short = min(size)
    length, width = rng.uniform(*SIZE, 2) * short
    if kind == "scar":
        length, width = 2 * length, THIN * short
    length, width = max(length, 1.0), max(width, 1.0)
    y, x = (torch.arange(side) - rng.uniform(0.1, 0.9) * side for side in size)
    angle = rng.uniform(0, math.pi)
    along = (x[None, :] * math.cos(angle) + y[:, None] * math.sin(angle)) / length
    across = (y[:, None] * math.cos(angle) - x[None, :] * math.sin(angle)) / width
    if kind in ("scar", "cut"):
        return torch.maximum(along.abs(), across.abs()) <= 1
    return along.square() + across.square() <= 1


def _content(image: Tensor, kind: str, rng: np.random.Generator) -> Tensor:
    """What is seen in the region of a defect, for the whole image [C, H, W]."""
    if kind in ("cut", "scar"):
        rows, columns = (int(rng.uniform(0.2, 0.8) * side) for side in image.shape[1:])
        return image.roll((rows, columns), dims=(1, 2))
    if kind == "blob":
        return image + float(rng.choice((-1, 1))) * STRENGTH * image.std()
    side = 2 * max(1, round(SIZE[0] * min(image.shape[1:]))) + 1
    return F.avg_pool2d(image[None], side, stride=1, padding=side // 2, count_include_pad=False)[0]


def _as(like: Tensor, pixels: Tensor) -> Tensor:
    """Pixels of the type of other images."""
    return pixels.round().clamp(0, 255).to(torch.uint8) if like.dtype == torch.uint8 else pixels.to(like.dtype)
