"""A quarter of the image as context, the other three as targets (table 6 of the paper)."""

import numpy as np

from openjepa.masking.settings import Masks, MaskSettings
from openjepa.masking.strategy import Strategy, block_ids, check_fixed, make_masks


def sample(settings: MaskSettings, batch_size: int, rng: np.random.Generator) -> Masks:
    """A quarter of each image, drawn evenly, is its context."""
    half = settings.grid_size[0] // 2, settings.grid_size[1] // 2
    corners = np.array([(0, 0), (0, half[1]), (half[0], 0), half])
    quarters = block_ids(corners[None], half, settings.grid_size[1])[0]
    chosen = rng.random((batch_size, 4)).argmax(axis=1)
    others = np.array([[q for q in range(4) if q != c] for c in range(4)])
    free = np.zeros((batch_size, settings.num_patches), bool)
    np.put_along_axis(free, quarters[chosen], True, axis=1)
    return make_masks(settings, free, np.zeros(free.shape), quarters[others[chosen]])


def check(settings: MaskSettings) -> None:
    """Raise ValueError for an odd grid, and for another number of targets or context."""
    rows, columns = settings.grid_size
    check_fixed(settings, "num_targets", 3)
    check_fixed(settings, "context_ratio", 0.25)
    if rows % 2 or columns % 2:
        nearest = f"{rows + rows % 2}x{columns + columns % 2}"
        raise ValueError(f"rasterized masks need an even grid, got {rows}x{columns}: the nearest is {nearest}")


RASTERIZED = Strategy(
    sample,
    check,
    "a quarter of the image as context, the others as targets",
    defaults={"num_targets": 3, "context_ratio": 0.25},
    unused=("num_targets", "target_scale", "target_aspect_ratio", "context_scale", "context_ratio"),
    same_shapes=True,
)
