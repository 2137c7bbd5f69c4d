"""What `tune` tries: the recipe, one-at-a-time changes of it that its grid allows, and the best of them together."""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from openjepa.config import Config, shown
from openjepa.errors import UsageError
from openjepa.variations import VARIATIONS
from openjepa.verbs.effects import without_effect
from openjepa.verbs.prepare import mask_settings

RECIPE, COMBINED = "recipe", "combined"
REPEATS = 2  # further seeds of the recipe in the first rung, by which noise is known
BLOCKS = {"num_targets", "target_scale", "context_scale"}
MULTIBLOCK = {"masks": "multiblock"}
Changes = dict[str, Any]


def values_of(config: Config) -> Changes:
    """The settings of a config, with what its masks come to where it leaves them open."""
    masks = mask_settings(config)
    now = dataclasses.asdict(config)
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
    """What a candidate is about, the last of its changes (setting and value), and those that it is tried beside."""
    *others, (setting, value) = changes.items()
    return dict(others), setting, value


def is_change(base: Config, changes: Changes) -> bool:
    """Whether these are possible, and other than what the base has, or would have with the masks that they need."""
    beside, setting, value = split(changes)
    possible = fits(base, beside) and fits(base, changes)
    return possible and values_of(dataclasses.replace(base, **beside))[setting] != value


def fits(base: Config, changes: Changes) -> bool:
    """Whether these changes of a config are possible, alone and on its grid, and each of them changes something."""
    try:
        return not without_effect(dataclasses.replace(base, **changes)).keys() & changes.keys()
    except UsageError:
        return False


def combination(base: Config, tried: Mapping[str, Changes], gains: Mapping[str, float], noise: float) -> Changes | None:
    """The best value of every setting that gained more than the noise, as far as they fit together.

    tried: changes by name, of one setting each and the masks that it needs; gains: what they gained over the recipe.
    None where fewer than two of them helped: the best is a candidate already.
    """
    joined, parts = {}, 0
    for name in sorted(gains, key=lambda name: -gains[name]):
        change = tried[name]
        agrees = all(joined.get(setting, value) == value for setting, value in change.items())
        if gains[name] > noise and agrees and fits(base, joined | change):
            joined, parts = joined | change, parts + 1
    return joined if parts > 1 else None
