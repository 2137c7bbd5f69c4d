"""The search space of `openjepa tune`: the recipe, single changes that fit its grid, and the best of them combined."""

import dataclasses
from collections.abc import Callable, Collection, Mapping
from typing import Any

from openjepa.errors import UsageError
from openjepa.masking.samplers import STRATEGIES
from openjepa.runs.images import mask_settings
from openjepa.runs.planning.unused_settings import without_effect
from openjepa.runs.settings import Config, shown
from openjepa.training.schedules import ema_range


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def _times(name: str, *factors: float) -> Callable[[Config], list[Any]]:
    """Values around the recipe's own; whole numbers stay whole and above zero."""

    def values(config: Config) -> list[Any]:
        own = getattr(config, name)
        scaled = [own * factor for factor in factors]
        return [max(1, int(value)) for value in scaled] if isinstance(own, int) else [*map(_rounded, scaled)]

    return values


def _these(*values: Any) -> Callable[[Config], list[Any]]:
    return lambda config: list(values)


def _ema_momenta(config: Config) -> list[tuple[float, float]]:
    """A target encoder that follows three times as fast at the start, and one three times as slow."""
    start, end = config.ema_momentum or ema_range(1)  # trials are short
    return [(_rounded(max(0.0, 1 - factor * (1 - start))), end) for factor in (3, 1 / 3)]


# The values of masks, blocks, weight decay and predictor are those of the paper's ablations (Assran et al. 2023, tables
# 6, 8 to 10 and 12 to 14) or stand in the same proportion to the recipe's, so that their trends can be compared.
VARIATIONS: dict[str, Callable[[Config], list[Any]]] = {
    "lr": _times("lr", 1 / 3, 3),
    "ema_momentum": _ema_momenta,
    "batch_size": _times("batch_size", 1 / 2, 2),
    "optimizer": _these("muon", "adamw"),
    "weight_decay": _these((0.04, 0.4), (0.05, 0.05)),
    "masks": _these(*(name for name, strategy in STRATEGIES.items() if not strategy.batch_dependent)),
    # The last two are for random masks, which take a single fraction.
    "target_scale": _these((0.1, 0.2), (0.15, 0.2), (0.2, 0.3), (0.25, 0.25), (0.75, 0.75)),
    "num_targets": _these(1, 2, 3, 4, 6),
    "context_scale": _these((0.4, 1.0), (0.65, 1.0), (0.85, 1.0)),
    "context_ratio": _these(0.15, 0.25, 0.35),
    "masks_per_image": _times("masks_per_image", 1 / 2, 2),
    "crop_scale": _these((0.3, 1.0), (0.5, 1.0), (0.7, 1.0)),
    "loss": _these("smooth_l1", "l2"),
    "warmup": _these(0.05, 0.2),
    "predictor_depth": _times("predictor_depth", 1 / 2, 2),
    "predictor_dim": _times("predictor_dim", 1 / 2, 2),
}


RECIPE, COMBINED = "recipe", "combined"
REPEATS = 2  # further seeds of the recipe in the first rung, to estimate noise
BLOCKS = {"num_targets", "target_scale", "context_scale"}
MULTIBLOCK = {"masks": "multiblock"}
Changes = dict[str, Any]


def values_of(config: Config) -> Changes:
    """The settings of a config, with the masks that it resolves to where it leaves them open."""
    masks = mask_settings(config)
    now = dataclasses.asdict(config)
    if masks is None:
        return now
    return now | {name: getattr(masks, name) for name in BLOCKS} | {"masks": masks.strategy}


def candidates(base: Config, fixed: Collection[str]) -> dict[str, Changes]:
    """Changes by name: none for the recipe, then one setting at a time, without the `fixed` and what does not fit.

    Blocks that the recipe's masks do not have are tried beside multiblock masks, unless the masks are fixed.
    """
    found: dict[str, Changes] = {RECIPE: {}}
    for setting, values in VARIATIONS.items():
        for value in values(base) if setting not in fixed else ():
            alone = {setting: value}
            blocks = setting in BLOCKS and "masks" not in fixed and not fits(base, alone)
            changes = MULTIBLOCK | alone if blocks else alone
            if is_change(base, changes):
                beside, _, _ = split(changes)
                found[", ".join([f"{setting} {shown(value)}", *map(shown, beside.values())])] = changes
    return found


def split(changes: Changes) -> tuple[Changes, str, Any]:
    """The changes that a candidate is tried with, and its own change: the last setting and value."""
    *others, (setting, value) = changes.items()
    return dict(others), setting, value


def is_change(base: Config, changes: Changes) -> bool:
    """Whether changes are possible and differ from the base, or from the base with the masks that they need."""
    beside, setting, value = split(changes)
    possible = fits(base, beside) and fits(base, changes)
    return possible and values_of(dataclasses.replace(base, **beside))[setting] != value


def fits(base: Config, changes: Changes) -> bool:
    """Whether these changes of a config are possible, alone and on its grid, and each of them changes something."""
    try:
        return not without_effect(dataclasses.replace(base, **changes)).keys() & changes.keys()
    except UsageError:
        return False


def combination(
    base: Config, candidates: Mapping[str, Changes], gains: Mapping[str, float], noise: float
) -> Changes | None:
    """The best value of every setting that gained more than the noise, as far as they fit together.

    candidates: changes by name, of one setting each and the masks that it needs; gains: their accuracies less that of
    the recipe. None where fewer than two of them helped: the best is a candidate already.
    """
    joined: Changes = {}
    parts = 0
    for name in sorted(gains, key=lambda name: -gains[name]):
        change = candidates[name]
        agrees = all(joined.get(setting, value) == value for setting, value in change.items())
        if gains[name] > noise and agrees and fits(base, joined | change):
            joined, parts = joined | change, parts + 1
    return joined if parts > 1 else None
