"""The mask strategies by name, and sampling with them.

Masks are sampled for a whole batch at once. To add a strategy, write one file and one entry here.
"""

from openjepa.masking.multiblock import BLOCK, MULTIBLOCK
from openjepa.masking.published import REFERENCE
from openjepa.masking.random import RANDOM
from openjepa.masking.rasterized import RASTERIZED
from openjepa.masking.settings import Masks, MaskSettings
from openjepa.masking.strategy import Strategy
from openjepa.rng import MASKS, generator

STRATEGIES: dict[str, Strategy] = {
    "multiblock": MULTIBLOCK,
    "rasterized": RASTERIZED,
    "block": BLOCK,
    "random": RANDOM,
    "reference": REFERENCE,
}


def sample_masks(settings: MaskSettings, batch_size: int, seed: int, step: int) -> Masks:
    """Masks of one batch, a pure function of its arguments: context_ids [B, Nc] and target_ids [B, M, Nt], int64.

    The masks of an image do not depend on `batch_size`, except with a strategy that is `batch_dependent`.
    """
    return STRATEGIES[settings.strategy].sample(settings, batch_size, generator(seed, MASKS, step))


def check_masks(settings: MaskSettings) -> None:
    """Raise ValueError, naming the nearest setting that is possible, if these masks do not fit the grid."""
    rows, columns = settings.grid_size
    if settings.strategy not in STRATEGIES:
        raise ValueError(f"unknown mask strategy {settings.strategy!r}: known are {', '.join(STRATEGIES)}")
    if min(rows, columns) < 2:
        raise ValueError(
            f"a grid of {rows}x{columns} patches is too small to mask: use smaller patches, for 2x2 or more"
        )
    STRATEGIES[settings.strategy].check(settings)


def targets_in_words(masks: MaskSettings) -> str:
    """The targets of an image: blocks, or patches where they have no shape."""
    if "target_aspect_ratio" in STRATEGIES[masks.strategy].unused:
        return f"targets {STRATEGIES[masks.strategy].help}"
    return f"{masks.num_targets} target block{'s' * (masks.num_targets != 1)}"
