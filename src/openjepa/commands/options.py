"""Turn the fields of Config into keyword options of a verb, so that each setting is declared once."""

import inspect
from collections.abc import Callable, Iterable
from typing import Annotated, get_type_hints

import typer

from openjepa.config import FIELDS, Config, shown

SkippedShare = Annotated[float, typer.Option(help=FIELDS["max_skipped"].metadata["help"])]
Data = Annotated[
    str,
    typer.Argument(
        help="Folder, glob, zip, tar, shards, list (.txt, .csv, .parquet), arrays, hf:NAME, torchvision:NAME, scenes.",
        show_default=False,
    ),
]


def with_settings(verb: Callable, names: Iterable[str] = FIELDS) -> Callable:
    """Give `verb(..., **settings)` one keyword for each named setting; left out (None), the recipe decides."""
    types = get_type_hints(Config)
    signature = inspect.signature(verb)
    own = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    settings = []
    for name in names:
        spec = FIELDS[name]
        default = "" if spec.default is None else f" [{shown(spec.default)}]"
        text = typer.Option(help=spec.metadata["help"] + default, rich_help_panel=spec.metadata["panel"])
        annotation = Annotated[types[name] | None, text]
        settings.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation))
    verb.__signature__ = signature.replace(parameters=[*own, *settings])
    hints = get_type_hints(verb, include_extras=True)
    hints.pop("settings", None)
    verb.__annotations__ = hints | {p.name: p.annotation for p in settings}
    return verb
