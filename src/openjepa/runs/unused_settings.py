"""Settings that can change nothing beside the others: a person who gives one is told, tune and reports leave it out."""

from collections.abc import Mapping
from typing import Any

from openjepa.config import Config, option, shown
from openjepa.errors import UsageError
from openjepa.runs.images import mask_settings

# By mask strategy: what it has no use for, or knows one value of (masking/samplers.py, masking/published.py).
FIXED = {
    "random": ("num_targets", "target_aspect_ratio", "context_scale"),
    "rasterized": ("num_targets", "target_scale", "target_aspect_ratio", "context_scale", "context_ratio"),
    "reference": ("context_ratio",),
}


def without_effect(config: Config) -> dict[str, str]:
    """Why a setting has no effect, by its name; raises UsageError if the masks do not fit the grid."""
    masks = mask_settings(config)
    found = dict.fromkeys(FIXED.get(masks.strategy, ()), f"{masks.strategy} masks have no use for it")
    if masks.num_targets == 1:
        found["target_sequences"] = f"{masks.strategy} masks have one target an image"
    if config.method == "mae":
        found |= dict.fromkeys(("loss", "ema_momentum"), "mae predicts pixels, by their squared error")
    if not config.init:
        found["init_freeze"] = "it goes with --init"
    if config.any_orientation:
        found["horizontal_flip"] = "--any-orientation mirrors crops too"
    if not config.warmup:
        found["lr_start"] = "there is no warm-up"
    return found


def check_settings(config: Config, given: Mapping[str, Any]) -> None:
    """Raise UsageError if the masks do not fit the grid, or if one of the `given` settings would do nothing."""
    for name, why in without_effect(config).items():
        if given.get(name) is not None:
            raise UsageError(f"{option(name)} {shown(given[name])} would do nothing: {why}; leave it out")
