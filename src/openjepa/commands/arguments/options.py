"""The options of a command: the keywords of its function, and settings of Config where it takes them."""

import dataclasses
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_type_hints

from typer import Argument, Option

from openjepa.config import FIELDS, Config, build_config, check_value, help_of, normal
from openjepa.data.open import Given
from openjepa.data.sources.objects import Indexed
from openjepa.data.sources.registry import known
from openjepa.errors import UsageError, shown, unknown
from openjepa.recipe_settings import DECIDED, RECIPES, recipe
from openjepa.renamed import given_names

_DATA = Argument(help=f"Images: {known()}.", show_default=False)
DataName = Annotated[str, _DATA]
Data = Annotated[Given, _DATA]  # in Python also a sequence of images
Recipe = Annotated[
    str | None,
    Option(help=f"Named settings: {', '.join(RECIPES)}; left out, the images, the device and the time decide."),
]
Channels = Annotated[int | None, Option(help="Use the images with so many channels; left out, the images decide.")]
Pages = Annotated[str, Option(help=help_of("pages"))]
Device = Annotated[str, Option(help=help_of("device"))]
Precision = Annotated[str, Option(help=help_of("precision"))]
Pooling = Annotated[
    str, Option(help="Embedding of models of other libraries: auto (as that library pools), class or mean.")
]
Workers = Annotated[int | str, Option(help=help_of("workers"))]
Overwrite = Annotated[bool, Option("--overwrite", help="Replace a file that openjepa did not write.")]
Step = Annotated[
    int | str | None,
    Option(
        help="Of a run, also one that trains: the encoder after this step, a number, last, best or best-MONITOR.",
        show_default=False,
    ),
]
OverwriteFolder = Annotated[
    bool, Option("--overwrite", help="Replace what an earlier command wrote to the same folder.")
]
SkippedFraction = Annotated[float, Option(help=help_of("max_skipped"))]


@dataclass(frozen=True)
class PythonOnly:
    """Marks a keyword that the command line does not have: `callbacks: Annotated[Sequence[Callback], PythonOnly()]`."""


@dataclass(frozen=True)
class Settings:
    """What a command's `**settings` accepts, as an annotation: `**settings: Annotated[Any, Settings()]`.

    names   fields of Config
    values  what a run without options uses, shown as its default; None for recipe `laptop`, which is then named
    """

    names: tuple[str, ...] = tuple(FIELDS)
    values: Mapping[str, Any] | None = None

    def default(self, name: str) -> str:
        """What a help screen says a run without options uses."""
        usual = build_config(recipe("laptop") | dict(self.values or {}), {})
        value = dataclasses.asdict(usual)[name]
        kind = "recipe" if name in DECIDED and self.values is None else "default"
        value = FIELDS[name].metadata["unset"] or None if value is None else value
        return "" if value is None else f"{kind}: {value_text(value)}"

    def given(self, settings: dict[str, Any]) -> dict[str, Any]:
        """The settings under their current names.

        Raises UsageError for one that the command does not take, and for a value of a wrong type or out of its range.
        """
        settings = given_names(settings)
        for name in settings.keys() - set(self.names):
            raise UsageError(unknown("setting", name, self.names))
        for name, value in settings.items():
            check_value(name, normal(name, value))
        return settings


def value_text(value: Any) -> str:
    """A value of a setting in a table or help screen."""
    if value is None:
        return "–"
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else shown(value)


def option_list(function: Callable[..., Any]) -> type:
    """A dataclass with one field for each option of a function: its keywords, and the settings that it takes.

    Typer makes the command line from the annotations of the fields.
    """
    hints = get_type_hints(function, include_extras=True)
    fields: list[tuple[str, Any, Any]] = []
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            fields += _setting_fields(get_args(hints[name])[1])
        elif not any(isinstance(about, PythonOnly) for about in get_args(hints[name])):
            default = {} if parameter.default is inspect.Parameter.empty else {"default": parameter.default}
            fields.append((name, _as_text(hints[name]), dataclasses.field(**default)))
    return dataclasses.make_dataclass("Options", fields, kw_only=True)


def _as_text(hint: Any) -> Any:
    """The annotation of an option: what in Python is also an object or a number is a text on the command line."""
    kind, *about = get_args(hint) or (hint,)
    kinds = set(get_args(kind))
    if not ({Indexed} <= kinds or {int, str} <= kinds):
        return hint
    return Annotated[str | None if type(None) in kinds else str, *about]


def _setting_fields(settings: Settings) -> Iterable[tuple[str, Any, Any]]:
    types = get_type_hints(Config)
    for name in settings.names:
        option = Option(
            help=help_of(name),
            show_default=settings.default(name) or False,
            metavar="<from> <to>" if "tuple" in str(types[name]) else None,
            rich_help_panel=FIELDS[name].metadata["panel"],
        )
        kind = str if FIELDS[name].metadata["unset"] else types[name]
        yield name, Annotated[kind | None, option], dataclasses.field(default=None)
