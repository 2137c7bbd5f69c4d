"""`openjepa recipes [NAME]`: the named settings, or what one of them sets."""

from typing import Annotated, Any

from rich import box
from rich.table import Table
from typer import Argument

from openjepa.commands.options import value_text
from openjepa.config import FIELDS, build_config
from openjepa.console import console
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
    table = Table("recipe", "for", box=box.SIMPLE)
    for name, entry in RECIPES.items():
        table.add_row(name, entry.help)
    console.print(table)
    return {name: entry.help for name, entry in RECIPES.items()}


def _show_settings(name: str) -> dict[str, Any]:
    settings, usual = (vars(build_config(recipe(which), {})) for which in (name, "laptop"))
    table = Table("option", "value", "laptop", "meaning", box=box.SIMPLE)
    for setting, value in settings.items():
        other = "" if value == usual[setting] else value_text(usual[setting])
        table.add_row(option(setting), value_text(value), other, FIELDS[setting].metadata["help"])
    console.print(table, markup=False)
    return settings
