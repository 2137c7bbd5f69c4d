"""Which patches are context and which are targets (paper, section 3; docs/decisions.md on what is mended).

Masks are sampled for a whole batch at once. The block shapes are a function of (seed, step); the places of the blocks
in an image are a function of (seed, step, slot), whatever the batch size. Every patch can be context and target, a
context never overlaps its targets, and no setting can make the sampler run on.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from openjepa.core.streams import MASKS, generator

LEVELS = 64
TRIES = 16
STRATEGIES = ("multiblock", "block", "random", "rasterized", "reference")


@dataclass(frozen=True)
class MaskSettings:
    """What to mask. Scales and ratios are shares of the grid; `target_aspect` is height over width.

    `strategy`: "multiblock" (the paper's), "block", "random", "rasterized" (its table 6), or "reference" (the published
    code's behaviour, faults included; see core/reference_masks.py).
    """

    grid_size: tuple[int, int]
    strategy: str = "multiblock"
    num_targets: int = 4
    target_scale: tuple[float, float] = (0.15, 0.2)
    target_aspect: tuple[float, float] = (0.75, 1.5)
    context_scale: tuple[float, float] = (0.85, 1.0)
    context_ratio: float = 0.25

    @property
    def num_patches(self) -> int:
        return self.grid_size[0] * self.grid_size[1]

    @property
    def context_length(self) -> int:
        """Nc, the same for every image and batch."""
        if self.strategy == "rasterized":
            return self.num_patches // 4
        return max(1, round(self.context_ratio * self.num_patches))


class Masks(NamedTuple):
    """context_ids [B, Nc] and target_ids [B, M, Nt], int64, ascending; `redrawn` counts images given a spare layout."""

    context_ids: Tensor
    target_ids: Tensor
    redrawn: int = 0


def strategy_settings(strategy: str) -> dict:
    """The settings that the paper's table 6 gives a strategy other than multi-block."""
    whole = {"num_targets": 1, "target_scale": (0.6, 0.6), "context_scale": (1.0, 1.0)}
    return {"block": whole, "random": whole, "rasterized": {"num_targets": 3}}.get(strategy, {})


def sample_masks(settings: MaskSettings, batch_size: int, seed: int, step: int) -> Masks:
    """Masks of one batch, a pure function of its arguments; slot i is free of `batch_size`
    (except for "reference")."""
    if settings.strategy == "reference":
        from openjepa.core.reference_masks import sample_reference_masks

        return sample_reference_masks(settings, batch_size, seed, step)
    rng = generator(seed, MASKS, step)
    sampler = {"random": _random, "rasterized": _rasterized}.get(settings.strategy, _multiblock)
    context_candidates, target_ids, redrawn, order = sampler(settings, batch_size, rng)
    context_ids = _keep(context_candidates, order, settings.context_length)
    return Masks(torch.from_numpy(context_ids), torch.from_numpy(target_ids), redrawn)


def between(bounds: tuple[float, float], level: int) -> float:
    """One of LEVELS evenly spaced values within bounds: few enough for check_masks to try every shape there is."""
    return bounds[0] + (bounds[1] - bounds[0]) * (level + 0.5) / LEVELS


def target_shape(settings: MaskSettings, scale_level: int, aspect_level: int) -> tuple[int, int]:
    """Rows and columns of the target blocks of a step; area and aspect are independent of each other."""
    area = between(settings.target_scale, scale_level) * settings.num_patches
    aspect = between(settings.target_aspect, aspect_level)
    rows, columns = settings.grid_size
    return min(rows, max(1, round((area * aspect) ** 0.5))), min(columns, max(1, round((area / aspect) ** 0.5)))


def context_shape(settings: MaskSettings, level: int) -> tuple[int, int]:
    """Rows and columns of the context block of a step; it has the aspect of the grid."""
    shrink = between(settings.context_scale, level) ** 0.5
    rows, columns = settings.grid_size
    return max(1, round(rows * shrink)), max(1, round(columns * shrink))


def _multiblock(settings: MaskSettings, batch_size: int, rng: np.random.Generator):
    (rows, columns), count = settings.grid_size, settings.num_targets
    levels = rng.integers(LEVELS, size=3)
    target, context = target_shape(settings, *levels[:2]), context_shape(settings, levels[2])
    draws = rng.random((batch_size, TRIES * 2 * (count + 1) + rows * columns))
    places, order = draws[:, : -rows * columns].reshape(batch_size, TRIES, count + 1, 2), draws[:, -rows * columns :]
    free, corners, missing = _layout(settings, places[:, 0], target, context)
    for spare in range(1, TRIES):
        if not missing.any():
            break
        again = _layout(settings, places[missing, spare], target, context)
        free[missing], corners[missing], missing[missing] = again
    redrawn = int(missing.sum())
    if (
        redrawn
    ):  # stacked targets in the whole image leave the most context there is: check_masks makes sure it is enough
        corners[missing] = corners[missing, :1]
        free[missing] = ~_inside(settings.grid_size, corners[missing, :1], target).any(1)
    return free, _block_ids(corners, target, columns), redrawn, order


def _layout(settings: MaskSettings, places: np.ndarray, target: tuple[int, int], context: tuple[int, int]):
    """Free context patches [n, N], target corners [n, M, 2] and whether the context is too small [n]."""
    grid = np.array(settings.grid_size)
    corners = (places[:, 1:] * (grid - target + 1)).astype(np.int64)
    context_corner = (places[:, :1] * (grid - context + 1)).astype(np.int64)
    in_context = _inside(settings.grid_size, context_corner, context)[:, 0]
    free = in_context & ~_inside(settings.grid_size, corners, target).any(1)
    return free, corners, free.sum(1) < settings.context_length


def _inside(grid_size: tuple[int, int], corners: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Membership [n, M, N] of every patch in the blocks of one shape at corners [n, M, 2]."""
    hits = [
        (np.arange(size) >= corners[..., axis, None]) & (np.arange(size) < corners[..., axis, None] + shape[axis])
        for axis, size in enumerate(grid_size)
    ]
    return (hits[0][..., :, None] & hits[1][..., None, :]).reshape(*corners.shape[:2], -1)


def _block_ids(corners: np.ndarray, shape: tuple[int, int], columns: int) -> np.ndarray:
    inner = (np.arange(shape[0])[:, None] * columns + np.arange(shape[1])).ravel()
    return (corners[..., 0] * columns + corners[..., 1])[..., None] + inner


def _keep(candidates: np.ndarray, order: np.ndarray, length: int) -> np.ndarray:
    """`length` of each row's candidates [n, N], chosen uniformly by `order` [n, N] in [0, 1), ascending."""
    chosen = np.argpartition(np.where(candidates, order, 2.0), length - 1, axis=1)[:, :length]
    return np.sort(chosen, axis=1).astype(np.int64)


def _random(settings: MaskSettings, batch_size: int, rng: np.random.Generator):
    order = rng.random((batch_size, settings.num_patches))
    length = round(settings.target_scale[0] * settings.num_patches)
    targets = _keep(np.ones_like(order, bool), order, length)
    free = np.ones_like(order, bool)
    np.put_along_axis(free, targets, False, axis=1)
    return free, targets[:, None], 0, order


def _rasterized(settings: MaskSettings, batch_size: int, rng: np.random.Generator):
    half = settings.grid_size[0] // 2, settings.grid_size[1] // 2
    corners = np.array([(0, 0), (0, half[1]), (half[0], 0), half])
    quadrants = _block_ids(corners[None], half, settings.grid_size[1])[0]
    draws = rng.random((batch_size, 4))
    chosen = draws.argmax(axis=1)
    others = np.array([[q for q in range(4) if q != c] for c in range(4)])
    free = np.zeros((batch_size, settings.num_patches), bool)
    np.put_along_axis(free, quadrants[chosen], True, axis=1)
    return free, quadrants[others[chosen]], 0, np.zeros(free.shape)
