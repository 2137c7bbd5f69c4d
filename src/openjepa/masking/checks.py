"""Refuse masks that cannot fit the grid before anything is trained, and name the nearest that can."""

import functools
import itertools

import numpy as np

from openjepa.masking.published import check_reference_masks
from openjepa.masking.samplers import _layout
from openjepa.masking.settings import LEVELS, STRATEGIES, MaskSettings, context_shape, target_shape
from openjepa.rng import MASKS, generator


def check_masks(settings: MaskSettings) -> None:
    """Raise ValueError, naming the nearest setting that can, if these masks do not fit the grid."""
    rows, columns = settings.grid_size
    if settings.strategy not in STRATEGIES:
        raise ValueError(f"unknown mask strategy {settings.strategy!r}: known are {', '.join(STRATEGIES)}")
    if min(rows, columns) < 2:
        raise ValueError(
            f"a grid of {rows}x{columns} patches is too small to mask: the least is 2x2, use smaller patches"
        )
    _check_count(settings)
    if settings.strategy == "reference":
        check_reference_masks(settings)
    elif settings.strategy == "rasterized":
        _check_even(rows, columns)
    else:
        _check_room(settings, longest_context(settings))


def _check_count(settings: MaskSettings) -> None:
    """Raise ValueError for numbers that a strategy cannot have."""
    fixed = {"rasterized": 3, "random": 1}.get(settings.strategy)
    if fixed and settings.num_targets != fixed:
        raise ValueError(f"{settings.strategy} masks have {fixed} targets, not {settings.num_targets}: leave it out")
    if settings.strategy == "rasterized" and settings.context_ratio != 0.25:
        raise ValueError(f"rasterized masks keep a quarter as context, not {settings.context_ratio:g}: leave it out")
    if settings.strategy == "random" and settings.target_scale[0] != settings.target_scale[1]:
        raise ValueError("random masks have one target scale: give the same number twice, e.g. 0.6 0.6")
    if settings.strategy == "random" and round(settings.target_scale[0] * settings.num_patches) < 1:
        raise ValueError(f"target_scale {settings.target_scale[0]:g} is less than a patch: give a larger one")


def _check_even(rows: int, columns: int) -> None:
    if rows % 2 or columns % 2:
        nearest = f"{rows + rows % 2}x{columns + columns % 2}"
        raise ValueError(f"rasterized masks need an even grid, got {rows}x{columns}: the nearest is {nearest}")


def _check_room(settings: MaskSettings, longest: int) -> None:
    asked, patches = settings.context_length, settings.num_patches
    if longest < 1:
        raise ValueError("the targets leave no context on this grid: lower num_targets or target_scale")
    if asked > longest:
        targets = (
            f"{settings.num_targets} targets of scale {settings.target_scale[0]:g} to {settings.target_scale[1]:g}"
        )
        raise ValueError(
            f"context_ratio {settings.context_ratio:g} asks for {asked} of {patches} patches, but {targets} "
            f"leave room for {longest}: the nearest is --context-ratio {int(1000 * longest / patches) / 1000:g}"
        )


@functools.cache
def longest_context(settings: MaskSettings) -> int:
    """The largest Nc, in patches, that at least half of the layouts of every possible block shape can fill."""
    if settings.strategy == "random":
        return settings.num_patches - round(settings.target_scale[0] * settings.num_patches)
    levels = range(LEVELS)
    targets = {target_shape(settings, *pair) for pair in itertools.product(levels, levels)}
    contexts = {context_shape(settings, level) for level in levels}
    places = generator(0, MASKS).random((256, settings.num_targets + 1, 2))
    rooms = [_layout(settings, places, t, c)[0].sum(1) for t in targets for c in contexts]
    return min(int(np.median(room)) for room in rooms)
