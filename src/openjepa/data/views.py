"""Photometric changes of crops: colour, grey, blur, solarise, as functions of random numbers that are drawn outside.

The settings are those of BYOL (Grill et al. 2020, arXiv 2006.07733, table 6), which later methods took over. Computed
for a whole batch at once, in [0, 1]; equal to torchvision's v2 functions of the same names on float images.
"""

import functools
import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

Change = Callable[[Tensor, Tensor], Tensor]  # images [B, C, H, W] and an amount [B, 1, 1, 1] of each

NUMBERS = 13  # random numbers that the changes of an image need
BRIGHTNESS, CONTRAST, SATURATION, HUE = 0.4, 0.4, 0.2, 0.1
GREY_WEIGHTS = (0.2989, 0.587, 0.114)  # ITU-R 601-2, as torchvision has them
SIGMAS = (0.1, 2.0)  # pixels, of the blur


class Chances(NamedTuple):
    """How probable it is that a view is changed in colour, made grey, blurred, solarised."""

    colour: float = 0.8
    grey: float = 0.2
    blur: float = 0.5
    solarise: float = 0.0


# The two views of an image are treated differently, which is what BYOL found best; smaller ones as DINO has them.
FIRST, SECOND, LOCAL = Chances(blur=1.0), Chances(blur=0.1, solarise=0.2), Chances()


def chances_of(view: int, local: bool) -> Chances:
    """Those of view number `view` of an image, or of one of its small crops."""
    return LOCAL if local else (SECOND if view % 2 else FIRST)


def changed(images: Tensor, chances: Chances, numbers: Tensor) -> Tensor:
    """Images uint8 [B, C, H, W] after the changes that `numbers` [B, 13], float32 in [0, 1), decide.

    Saturation, hue and grey are for three channels (red, green, blue) alone; others are left out for other images.
    """
    colour, amount, order, rest = numbers[:, 0], numbers[:, 1:5], numbers[:, 5:9].argsort(dim=1), numbers[:, 9:]
    rgb, x = images.shape[1] == 3, images.float() / 255
    for place in range(4):  # in random order, as torchvision's ColorJitter
        for number, change in enumerate(COLOURS if rgb else COLOURS[:2]):
            chosen = (colour < chances.colour) & (order[:, place] == number)
            x = where(chosen, x, change, _amount(number, amount[:, number]))
    if rgb:
        x = where(rest[:, 0] < chances.grey, x, saturate, torch.zeros(len(x)))
    x = where(rest[:, 1] < chances.blur, x, blur, SIGMAS[0] + (SIGMAS[1] - SIGMAS[0]) * rest[:, 2])
    x = where(rest[:, 3] < chances.solarise, x, solarise, rest[:, 3])
    return (x * 255).round().to(torch.uint8)


def _amount(number: int, uniform: Tensor) -> Tensor:
    """Factors around 1 of brightness, contrast and saturation, and for hue a shift around 0, from numbers in [0, 1)."""
    strength = (BRIGHTNESS, CONTRAST, SATURATION, HUE)[number]
    return (number < 3) + strength * (2 * uniform - 1)


def where(chosen: Tensor, images: Tensor, change: Change, amount: Tensor) -> Tensor:
    """The images with those that are `chosen` [B] changed by their `amount` [B]."""
    rows = chosen.nonzero().squeeze(1)
    return images.index_copy(0, rows, change(images[rows], amount[rows].view(-1, 1, 1, 1))) if len(rows) else images


def grey(images: Tensor) -> Tensor:
    """The luminance [B, 1, H, W] of images; of such without three channels the mean of all."""
    if images.shape[1] != 3:
        return images.mean(dim=1, keepdim=True)
    return (images * images.new_tensor(GREY_WEIGHTS).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)


def brighten(images: Tensor, factor: Tensor) -> Tensor:
    return (images * factor).clamp(0, 1)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    mean = grey(images).mean(dim=(1, 2, 3), keepdim=True)
    return (mean + factor * (images - mean)).clamp(0, 1)


def saturate(images: Tensor, factor: Tensor) -> Tensor:
    luminance = grey(images)
    return (luminance + factor * (images - luminance)).clamp(0, 1)


def shift_hue(images: Tensor, shift: Tensor) -> Tensor:
    """`shift` is a fraction of the circle of hues."""
    red, green, blue = images.unbind(1)
    value, chroma = images.amax(1), images.amax(1) - images.amin(1)
    safe = chroma.where(chroma > 0, 1)
    sixths = torch.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe)
    sixths = torch.where(value == red, (green - blue) / safe, sixths) + 6 * shift.squeeze(1)
    place = (sixths.unsqueeze(1) + images.new_tensor((5, 3, 1)).view(1, 3, 1, 1)) % 6
    return value.unsqueeze(1) - chroma.unsqueeze(1) * torch.minimum(place, 4 - place).clamp(0, 1)


def blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur over about a tenth of the side, `sigma` in pixels; edges are reflected."""
    reach = min(max(1, round(min(images.shape[2:]) / 20)), min(images.shape[2:]) - 1)
    if reach < 1:
        return images
    offsets = torch.arange(-reach, reach + 1, device=images.device)
    weights = torch.exp(-0.5 * (offsets / sigma.view(-1, 1)).square())
    weights = (weights / weights.sum(dim=1, keepdim=True)).T.reshape(-1, len(images), 1, 1, 1)
    rows, columns = images.shape[2:]
    padded = F.pad(images, (0, 0, reach, reach), mode="reflect")
    images = sum_of(weight * padded[:, :, i : i + rows] for i, weight in enumerate(weights))
    padded = F.pad(images, (reach, reach, 0, 0), mode="reflect")
    return sum_of(weight * padded[..., i : i + columns] for i, weight in enumerate(weights))


def sum_of(terms: Iterable[Tensor]) -> Tensor:
    return functools.reduce(torch.add, terms)


def solarise(images: Tensor, _: Tensor) -> Tensor:
    """Invert what is at least half as bright as can be."""
    return torch.where(images >= 0.5, 1 - images, images)


COLOURS: tuple[Change, ...] = (brighten, contrast, saturate, shift_hue)


def small_size(size: tuple[int, int], patch_size: int) -> tuple[int, int]:
    """The size (rows, columns) of a small crop: 96 px where images have 224, in whole patches."""
    rows, columns = (max(1, math.floor(side * 96 / 224 / patch_size + 0.5)) * patch_size for side in size)
    return rows, columns


def small_scale(scale: tuple[float, float]) -> tuple[float, float]:
    """The fraction of an image in its small crops: from 0.05 to where that of the others begins (SwAV, DINO)."""
    return min(0.05, scale[0] / 2), scale[0]
