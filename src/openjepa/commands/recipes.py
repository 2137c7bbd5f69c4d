"""`openjepa recipes [NAME]`: the named settings, or what one of them sets."""

from typing import Annotated, Any

from typer import Argument

from openjepa.commands.arguments.options import value_text
from openjepa.config import FIELDS, build_config
from openjepa.console import show_table
from openjepa.errors import option
from openjepa.recipe_settings import RECIPES, recipe


def recipes(
    name: Annotated[str | None, Argument(help="A recipe, to see its settings.", show_default=False)] = None,
) -> dict[str, Any]:
    """List the recipes with what each is for, or all settings of one, and where they differ from recipe laptop.

    Returns what the recipes are for, by name, or the settings of one. Raises UsageError for an unknown name.
    """
    return _show_settings(name) if name else _show_recipes()


def _show_recipes() -> dict[str, str]:
    show_table(("recipe", "for"), ((name, entry.help) for name, entry in RECIPES.items()))
    return {name: entry.help for name, entry in RECIPES.items()}


def _show_settings(name: str) -> dict[str, Any]:
    settings, usual = (vars(build_config(recipe(which), {})) for which in (name, "laptop"))
    others = {name: "" if value == usual[name] else value_text(usual[name]) for name, value in settings.items()}
    rows = ((option(n), value_text(v), others[n], FIELDS[n].metadata["help"]) for n, v in settings.items())
    show_table(("option", "value", "laptop", "meaning"), rows)
    return settings
