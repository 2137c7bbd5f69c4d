"""Settings for the rooms above `runs`: a Config from a recipe, from what was stored, or with changes."""

from collections.abc import Mapping
from typing import Any

from openjepa.config import MACHINE, Config, build_config, normal, seconds, size_in_words
from openjepa.errors import option, shown
from openjepa.recipe_settings import recipe
from openjepa.renamed import all_settings, current_names
from openjepa.runs.start import resolve_precision
from openjepa.runs.unused_settings import check_settings

__all__ = [
    "MACHINE",
    "Config",
    "option",
    "recipe_config",
    "seconds",
    "shown",
    "size_in_words",
    "stored_config",
    "stored_settings",
]


def recipe_config(name: str, given: Mapping[str, Any], **fixed: Any) -> Config:
    """A recipe with the settings that the user gave and those that are `fixed`, its precision resolved.

    Raises UsageError for a setting that is not possible or has no effect.
    """
    config = build_config(recipe(name, dict(given)), {**given, **fixed})
    check_settings(config, dict(given))
    return resolve_precision(config)


def stored_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings from JSON, under their current names and of their own types."""
    return {name: normal(name, value) for name, value in current_names(dict(values)).items()}


def stored_config(values: Mapping[str, Any]) -> Config:
    """The Config of settings from JSON; raises ValueError, TypeError or UsageError where they are none."""
    return Config(**stored_settings(all_settings(dict(values))))
