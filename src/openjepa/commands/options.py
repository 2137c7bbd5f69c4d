"""Turn the fields of Config into keyword options of a command, so that each setting is declared once."""

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Annotated, Any, get_type_hints

import typer

from openjepa.config import FIELDS, Config, given_names, shown
from openjepa.data.sources.registry import known

SkippedFraction = Annotated[float, typer.Option(help=FIELDS["max_skipped"].metadata["help"])]
Data = Annotated[
    str,
    typer.Argument(
        help=f"Images: {known()}.",
        show_default=False,
    ),
]


def with_settings(command: Callable, names: Iterable[str] = FIELDS) -> Callable:
    """Give `command(..., **settings)` one keyword for each named setting; left out (None), the recipe decides."""
    types = get_type_hints(Config)

    @functools.wraps(command)
    def with_current_names(*args: Any, **given: Any) -> Any:
        return command(*args, **given_names(given))

    signature = inspect.signature(command)
    own = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    settings = []
    for name in names:
        spec = FIELDS[name]
        default = "" if spec.default is None else f" [{shown(spec.default)}]"
        text = typer.Option(help=spec.metadata["help"] + default, rich_help_panel=spec.metadata["panel"])
        annotation = Annotated[types[name] | None, text]
        settings.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation))
    with_current_names.__signature__ = signature.replace(parameters=[*own, *settings])
    hints = get_type_hints(command, include_extras=True)
    hints.pop("settings", None)
    with_current_names.__annotations__ = hints | {p.name: p.annotation for p in settings}
    return with_current_names
