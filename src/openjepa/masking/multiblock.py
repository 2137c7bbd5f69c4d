"""Several target blocks and a context block that avoids them (paper, section 3), and one large block (table 6).

The block shapes are a function of (seed, step); the places of the blocks in an image are a function of (seed, step,
slot), whatever the batch size. Every patch can be context and target, a context never overlaps its targets, and the
number of tries is bounded. docs/development/decisions.md says where this differs from the published code.
"""

import functools
import itertools

import numpy as np

from openjepa.masking.settings import Masks, MaskSettings
from openjepa.masking.strategy import Strategy, block_ids, check_room, make_masks
from openjepa.rng import MASKS, generator

LEVELS, TRIES = 64, 16


def sample(settings: MaskSettings, batch_size: int, rng: np.random.Generator) -> Masks:
    """One shape of target block and of context block for the batch, placed for each image."""
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
    if missing.any():  # stacked targets in the whole image leave the most context there is, enough by check
        corners[missing] = corners[missing, :1]
        free[missing] = ~_inside(settings.grid_size, corners[missing, :1], target).any(1)
    return make_masks(settings, free, order, block_ids(corners, target, columns), redrawn)


def check(settings: MaskSettings) -> None:
    """Raise ValueError if the targets do not leave enough context."""
    check_room(settings, longest_context(settings))


@functools.cache
def longest_context(settings: MaskSettings) -> int:
    """The largest Nc, in patches, that at least half of the layouts of every possible block shape can fill."""
    levels = range(LEVELS)
    targets = {target_shape(settings, *pair) for pair in itertools.product(levels, levels)}
    contexts = {context_shape(settings, level) for level in levels}
    places = generator(0, MASKS).random((256, settings.num_targets + 1, 2))
    rooms = [_layout(settings, places, t, c)[0].sum(1) for t in targets for c in contexts]
    return min(int(np.median(room)) for room in rooms)


def target_shape(settings: MaskSettings, scale_level: int, aspect_level: int) -> tuple[int, int]:
    """Rows and columns of the target blocks of a step; area and aspect are independent of each other."""
    area = _between(settings.target_scale, scale_level) * settings.num_patches
    aspect = _between(settings.target_aspect_ratio, aspect_level)
    rows, columns = settings.grid_size
    return min(rows, max(1, round((area * aspect) ** 0.5))), min(columns, max(1, round((area / aspect) ** 0.5)))


def context_shape(settings: MaskSettings, level: int) -> tuple[int, int]:
    """Rows and columns of the context block of a step; it has the aspect of the grid."""
    shrink = _between(settings.context_scale, level) ** 0.5
    rows, columns = settings.grid_size
    return max(1, round(rows * shrink)), max(1, round(columns * shrink))


def _between(bounds: tuple[float, float], level: int) -> float:
    """One of LEVELS evenly spaced values within bounds: few enough for the check to try every shape there is."""
    return bounds[0] + (bounds[1] - bounds[0]) * (level + 0.5) / LEVELS


def _layout(
    settings: MaskSettings, places: np.ndarray, target: tuple[int, int], context: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
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


MULTIBLOCK = Strategy(sample, check, "several target blocks of the image and the context beside them, as in the paper")
BLOCK = Strategy(
    sample,
    check,
    "one large target block",
    defaults={"num_targets": 1, "target_scale": (0.6, 0.6), "context_scale": (1.0, 1.0)},
)
