"""Options that commands share, and the settings of Config that a command takes."""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from typer import Argument, Option

from openjepa.config import FIELDS, Config, build_config, check_value, help_of, normal
from openjepa.data.open import Given
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
Crops = Annotated[
    int | None,
    Option(
        help="The mean over crops: 2 (the image and its mirror image), 5 (centre and corners) or 10 (both).",
        show_default=False,
    ),
]
Workers = Annotated[int | str, Option(help=help_of("workers"))]
_TABLE = Option(help="Table to write: .csv, .xlsx (Excel) or .parquet.", show_default=False)
TableOut = Annotated[Path, _TABLE]
MaybeTable = Annotated[Path | None, _TABLE]
Xlsx = Annotated[Path | None, Option(help="File to write that table to as an Excel workbook.")]
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

    def fields(self) -> Iterator[tuple[str, Any, Any]]:
        """A field of the options for each setting: its name, its annotation, and that it is left out by default."""
        types = get_type_hints(Config)
        for name in self.names:
            option = Option(
                help=help_of(name),
                show_default=self.default(name) or False,
                metavar="<from> <to>" if "tuple" in str(types[name]) else None,
                rich_help_panel=FIELDS[name].metadata["panel"],
            )
            kind = str if FIELDS[name].metadata["unset"] else types[name]
            yield name, Annotated[kind | None, option], dataclasses.field(default=None)


def value_text(value: Any) -> str:
    """A value of a setting in a table or help screen."""
    if value is None:
        return "–"
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else shown(value)
