"""The options of a command, made from the keywords of its function. Imports no library but Typer."""

import dataclasses
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_type_hints

from openjepa.data.sources.indexed import Indexed


@dataclass(frozen=True)
class PythonOnly:
    """Marks a keyword that the command line does not have: `callbacks: Annotated[Sequence[Callback], PythonOnly()]`."""


def option_list(function: Callable[..., Any]) -> type:
    """A dataclass with one field for each option of a function: its keywords, and the settings that it takes.

    Typer makes the command line from the annotations of the fields.
    """
    hints = get_type_hints(function, include_extras=True)
    fields: list[tuple[str, Any, Any]] = []
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            fields += get_args(hints[name])[1].fields()  # of openjepa.commands.arguments.options.Settings
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
