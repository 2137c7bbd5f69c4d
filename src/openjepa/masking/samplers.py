"""Which patches are context and which are targets (paper, section 3; docs/development/decisions.md on what is mended).

Masks are sampled for a whole batch at once. The block shapes are a function of (seed, step); the places of the blocks
in an image are a function of (seed, step, slot), whatever the batch size. Every patch can be context and target, a
context never overlaps its targets, and no setting can make the sampler run on.
"""

import numpy as np
import torch

from openjepa.masking.published import sample_reference_masks
from openjepa.masking.settings import LEVELS, Masks, MaskSettings, context_shape, target_shape
from openjepa.rng import MASKS, generator

TRIES = 16


def sample_masks(settings: MaskSettings, batch_size: int, seed: int, step: int) -> Masks:
    """Masks of one batch, a pure function of its arguments; a slot depends on `batch_size` in "reference" only."""
    if settings.strategy == "reference":
        return sample_reference_masks(settings, batch_size, seed, step)
    rng = generator(seed, MASKS, step)
    sampler = {"random": _random, "rasterized": _rasterized}.get(settings.strategy, _multiblock)
    context_candidates, target_ids, redrawn, order = sampler(settings, batch_size, rng)
    context_ids = _keep(context_candidates, order, settings.context_length)
    return Masks(torch.from_numpy(context_ids), torch.from_numpy(target_ids), redrawn)


def _multiblock(settings: MaskSettings, batch_size: int, rng: np.random.Generator):
    (rows, columns), count = settings.grid_size, settings.num_targets
    levels = rng.integers(LEVELS, size=3)
    target, context = target_shape(settings, *levels[:2]), context_shape(settings, levels[2])
    draws = rng.random((batch_size, TRIES * 2 * (count + 1) + rows * columns))
    places, order = draws[:, : -rows * columns].reshape(batch_size, TRIES, count + 1, 2), draws[:, -rows * columns :]
    free, corners, missing = _layout(settings, places[:, 0], target, context)
    redrawn = int(missing.sum())
    for spare in range(1, TRIES):
        if not missing.any():
            break
        again = _layout(settings, places[missing, spare], target, context)
        free[missing], corners[missing], missing[missing] = again
    if missing.any():  # stacked targets in the whole image leave the most context there is, enough by check_masks
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
