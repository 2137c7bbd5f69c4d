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
Changes = dict[str, Any]


def values_of(config: Config) -> Changes:
    """The settings of a config, with what its masks come to where it leaves them open."""
    masks = mask_settings(config)
    now = dataclasses.asdict(config)
    return now | {name: getattr(masks, name) for name in BLOCKS} | {"masks": masks.strategy}


def candidates(base: Config, fixed: Collection[str]) -> dict[str, Changes]:
    """Changes by name: none for the recipe, then one setting at a time, without the `fixed` and what does not fit."""
    now, found = values_of(base), {RECIPE: {}}
    for setting, values in VARIATIONS.items():
        for value in values(base) if setting not in fixed else ():
            if value != now[setting] and fits(base, {setting: value}):
                found[f"{setting} {shown(value)}"] = {setting: value}
    return found


def fits(base: Config, changes: Changes) -> bool:
    """Whether these changes of a config are possible, alone and on its grid, and each of them changes something."""
    try:
        return not without_effect(dataclasses.replace(base, **changes)).keys() & changes.keys()
    except UsageError:
        return False


def combination(base: Config, tried: Mapping[str, Changes], gains: Mapping[str, float], noise: float) -> Changes | None:
    """The best value of every setting that gained more than the noise, as far as they fit together.

    tried: changes by name, one setting each; gains: what they gained over the recipe. None where fewer than two
    settings helped: the best of them is a candidate already.
    """
    joined: Changes = {}
    for name in sorted(gains, key=lambda name: -gains[name]):
        change = tried[name]
        new = gains[name] > noise and not change.keys() & joined.keys()
        if new and fits(base, joined | change):
            joined |= change
    return joined if len(joined) > 1 else None
