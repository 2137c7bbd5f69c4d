"""Copies among images of one view, as of a static camera, told from other images by their fine texture.

A pair is registered first: a cropped copy is shifted against its original by more than what tells two images of one
view apart. The registration is that of Lucas and Kanade (1981), "An iterative image registration technique with an
application to stereo vision", for a scale and a shift along either axis. What then correlates is what lies above its
surroundings, because slow changes of brightness are shared.
"""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

SIDE = 96
Larger = Callable[[int], np.ndarray | None]  # the grey image of a number, uint8 [96, 96]; None: it cannot be read
STEPS, MOST_SHIFT = 5, 0.07  # of registrations; in halves of a side
SURROUNDINGS, BORDER = 2, 3  # pixels: half the side of the square whose mean is taken away; what is not compared
# Copies differ so many times less than the tenth of pairs at random that is most alike. Not than the median pair,
# which is of two views where the images are of several.
SAMPLE, CLOSER, MOST_ALIKE = 256, 3.5, 0.999
AT_A_TIME = 32  # pairs, of 0.3 MB each while they are registered


def textures(one: Larger, other: Larger, pairs: np.ndarray) -> np.ndarray:
    """The correlation of the fine texture of pairs [n, 2] once registered: float32 [n]; -1 where one is unreadable."""
    parts = [_textures(one, other, pairs[start : start + AT_A_TIME]) for start in range(0, len(pairs), AT_A_TIME)]
    return np.concatenate([np.empty(0, np.float32), *parts])


def _textures(one: Larger, other: Larger, pairs: np.ndarray) -> np.ndarray:
    found = np.full(len(pairs), -1, np.float32)
    images = [(one(int(a)), other(int(b))) for a, b in pairs]
    readable = {row: (a, b) for row, (a, b) in enumerate(images) if a is not None and b is not None}
    equal = [row for row, (a, b) in readable.items() if np.array_equal(a, b)]
    found[equal] = 1  # without registration: a set may hold the same image ten thousand times
    others = sorted(readable.keys() - set(equal))
    if others:
        these, those = (_grey([readable[row][side] for row in others]) for side in (0, 1))
        found[others] = correlation(registered(these, those), those).numpy()
    return found


def least_texture(one: Larger, other: Larger, these: int, those: int) -> float:
    """The correlation from which on images of one view are copies, by that of pairs at random of `these` x `those`."""
    rng = np.random.default_rng(0)
    pairs = np.stack([rng.integers(count, size=SAMPLE) for count in (these, those)], 1)
    texture = textures(one, other, pairs)
    read = texture[texture > -1]
    return min(MOST_ALIKE, 1 - (1 - float(np.quantile(read, 0.9))) / CLOSER) if len(read) else MOST_ALIKE


def _grey(images: list) -> Tensor:
    return torch.from_numpy(np.stack(images)).float()


def registered(images: Tensor, onto: Tensor) -> Tensor:
    """Images [n, S, S] float32, each scaled and shifted by up to a few hundredths of its sides to cover another one."""
    return moved(images, registration(images, onto))


def registration(images: Tensor, onto: Tensor) -> Tensor:
    """How to scale and shift images [n, S, S] to cover others: shift across, down, scale across, down [n, 4].

    Shifts are in halves of a side; a scale below 1 says that the other shows a part of the image.
    """
    onto = onto - onto.mean((1, 2), keepdim=True)
    across, down = _positions(onto.shape[-1])
    by_row, by_column = torch.gradient(onto, spacing=2 / onto.shape[-1], dim=(1, 2))
    changes = [torch.ones_like(onto), onto, by_column, by_row, by_column * across, by_row * down]
    basis = torch.stack(changes, 1).flatten(2)
    normal = torch.linalg.inv(basis @ basis.transpose(1, 2) + 1e-3 * torch.eye(len(changes)))
    place = torch.tensor([0.0, 0.0, 1.0, 1.0]).repeat(len(onto), 1)  # shift across and down, scale across and down
    limits = torch.tensor([0.0, 0.0, 1.0, 1.0])
    for _ in range(STEPS):
        fitted = (normal @ (basis @ moved(images, place).flatten(1)[..., None]))[..., 0]
        step = fitted[:, 2:] / fitted[:, 1:2].clamp(min=0.2)
        place = place - step.clamp(-MOST_SHIFT, MOST_SHIFT)
        place = place.clamp(limits - MOST_SHIFT, limits + MOST_SHIFT)
    return place


def moved(images: Tensor, place: Tensor) -> Tensor:
    """Images [n, S, S] as `registration` says."""
    across, down = _positions(images.shape[-1])
    shift_x, shift_y, scale_x, scale_y = place[..., None, None].unbind(1)
    grid = torch.stack([scale_x * across + shift_x, scale_y * down + shift_y], -1)
    return F.grid_sample(images[:, None], grid, "bicubic", "reflection", align_corners=False)[:, 0]


def _positions(side: int) -> tuple[Tensor, Tensor]:
    """Where the pixels of a square lie, across and down, from -1 to 1: [S, S] each."""
    along = (torch.arange(side) + 0.5) * 2 / side - 1
    return along[None, :].expand(side, side), along[:, None].expand(side, side)


def correlation(one: Tensor, other: Tensor) -> Tensor:
    """The correlation of the fine texture of images [n, S, S]: [n]."""
    return F.cosine_similarity(_texture(one), _texture(other))


def _texture(images: Tensor) -> Tensor:
    side = 2 * SURROUNDINGS + 1
    around = F.pad(images[:, None], (SURROUNDINGS,) * 4, mode="replicate")
    around = F.avg_pool2d(F.avg_pool2d(around, (1, side), 1), (side, 1), 1)  # faster than a square at once
    fine = (images - around[:, 0])[:, BORDER:-BORDER, BORDER:-BORDER].flatten(1)
    return fine - fine.mean(1, keepdim=True)
