"""Scattered patches as targets, and scattered others as context (table 6 of the paper)."""

from typing import Any

import numpy as np

from openjepa.masking.settings import Masks, MaskSettings
from openjepa.masking.strategy import Strategy, check_fixed, check_room, choose, make_masks


def sample(settings: MaskSettings, batch_size: int, rng: np.random.Generator) -> Masks:
    """One set of targets an image, and a context of the patches that are none."""
    order = rng.random((batch_size, settings.num_patches))
    targets = choose(np.ones_like(order, bool), order, num_target_patches(settings))
    free = np.ones_like(order, bool)
    np.put_along_axis(free, targets, False, axis=1)
    return make_masks(settings, free, order, targets[:, None])


def num_target_patches(settings: MaskSettings) -> int:
    return round(settings.target_scale[0] * settings.num_patches)


def check(settings: MaskSettings) -> None:
    """Raise ValueError for several sets or scales of targets, and where no patch is left for context or target."""
    low, high = settings.target_scale
    check_fixed(settings, "num_targets", 1)
    if low != high:
        raise ValueError("random masks have one target scale: give the same number twice, e.g. 0.6 0.6")
    if num_target_patches(settings) < 1:
        raise ValueError(f"target_scale {low:g} is less than a patch: give a larger one")
    check_room(settings, settings.num_patches - num_target_patches(settings))


def target_scale_for(context_ratio: float, every_hidden: bool) -> dict[str, Any]:
    """All of the hidden patches where the method predicts them all; half of them teach others as much for less."""
    return {"target_scale": ((1 - context_ratio) / (1 if every_hidden else 2),) * 2}


RANDOM = Strategy(
    sample,
    check,
    "scattered patches",
    defaults={"num_targets": 1, "target_scale": (0.6, 0.6), "context_scale": (1.0, 1.0)},
    derived=target_scale_for,
    unused=("num_targets", "target_aspect_ratio", "context_scale"),
    same_shapes=True,
)
