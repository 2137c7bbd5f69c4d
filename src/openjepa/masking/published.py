"""The published code's mask sampler, reproduced from its behaviour for comparison.

Its faults are reproduced too: a block never reaches the last row or column, scale and aspect come from one random
number, every image is cut to the shortest of the batch by keeping its first patches, and a context that finds no room
overlaps its targets. Its endless loop is not reproduced: a block size that cannot be placed is drawn again, at most
100 times, and counted.
"""

import numpy as np
import torch

from openjepa.masking.settings import Masks, MaskSettings
from openjepa.masking.strategy import Strategy

MIN_KEEP = 10
LEVELS = 64  # that the check tries of a random number
TRIES = 100
TRIES_PER_RELAXATION = 20


def sample(settings: MaskSettings, batch_size: int, rng: np.random.Generator) -> Masks:
    """Masks whose context length depends on the batch: context_ids [B, Nc], target_ids [B, M, Nt], int64."""
    shape, redrawn = _shape_above_minimum(settings, rng)
    context_shape = _shape(settings, settings.context_scale, (1.0, 1.0), rng.random())
    images = [_one_image(settings, shape, context_shape, rng) for _ in range(batch_size)]
    shortest = min(len(context) for context, _ in images)
    context_ids = np.stack([context[:shortest] for context, _ in images])
    target_ids = np.stack([targets for _, targets in images])
    return Masks(torch.from_numpy(context_ids), torch.from_numpy(target_ids), redrawn)


def check(settings: MaskSettings) -> None:
    """Raise ValueError if no block of the published sampler can keep more than its least number of patches."""
    levels = [(level + 0.5) / LEVELS for level in range(LEVELS)]
    largest = max(
        int(np.prod(_shape(settings, settings.target_scale, settings.target_aspect_ratio, u))) for u in levels
    )
    context = int(np.prod(_shape(settings, settings.context_scale, (1.0, 1.0), 0.5)))
    if min(largest, context) <= MIN_KEEP:
        rows, columns = settings.grid_size
        raise ValueError(
            f"reference masks need target blocks of more than {MIN_KEEP} patches, but on a {rows}x{columns} grid "
            f"the largest has {largest}: use a finer grid or multiblock"
        )


def _shape(
    settings: MaskSettings, scale: tuple[float, float], aspect: tuple[float, float], u: float
) -> tuple[int, int]:
    area = int((scale[0] + u * (scale[1] - scale[0])) * settings.num_patches)  # cut to whole patches before the root
    ratio = aspect[0] + u * (aspect[1] - aspect[0])
    rows, columns = settings.grid_size
    return min(rows - 1, round((area * ratio) ** 0.5)), min(columns - 1, round((area / ratio) ** 0.5))


def _shape_above_minimum(settings: MaskSettings, rng: np.random.Generator) -> tuple[tuple[int, int], int]:
    """A block shape that can be placed, and how many times the published loop would not have ended."""
    for redrawn in range(TRIES):
        shape = _shape(settings, settings.target_scale, settings.target_aspect_ratio, rng.random())
        if shape[0] * shape[1] > MIN_KEEP:
            return shape, redrawn
    raise ValueError(f"no target block of more than {MIN_KEEP} patches in {TRIES} draws: use multiblock masks")


def _one_image(
    settings: MaskSettings, shape: tuple[int, int], context_shape: tuple[int, int], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Context patches [n] and target patches [M, Nt] of an image."""
    targets = [_block(settings.grid_size, shape, rng) for _ in range(settings.num_targets)]
    for attempt in range((len(targets) + 1) * TRIES_PER_RELAXATION):
        avoided = targets[: max(len(targets) - attempt // TRIES_PER_RELAXATION, 0)]
        context = np.setdiff1d(_block(settings.grid_size, context_shape, rng), np.concatenate([*avoided, []]))
        if len(context) > MIN_KEEP:
            break
    return context.astype(np.int64), np.stack(targets)


def _block(grid_size: tuple[int, int], shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    top, left = (int(rng.integers(0, size - side)) for size, side in zip(grid_size, shape, strict=True))
    rows, columns = np.arange(top, top + shape[0]), np.arange(left, left + shape[1])
    return (rows[:, None] * grid_size[1] + columns).ravel()


REFERENCE = Strategy(
    sample, check, "the published code's masks, faults included", unused=("context_ratio",), batch_dependent=True
)
