"""The help screen of a command: each option in full on a line, and below it what it does and what it is by default."""

from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.text import Text
from typer.core import TyperArgument, TyperCommand, TyperOption

MOST_COLUMNS = 120


class CommandWithHelp(TyperCommand):
    """A command of Typer whose help screen shows names and texts unabridged, in panels, and interprets no markup."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        console = Console(highlight=False)
        console.width = min(console.width, MOST_COLUMNS)
        arguments = [param for param in self.params if isinstance(param, TyperArgument)]
        options = [param for param in self.get_params(ctx) if isinstance(param, TyperOption)]
        console.print(Text(" ".join(["Usage:", ctx.command_path, *map(_usage, arguments), "[OPTIONS]"])))
        for paragraph in (self.help or "").split("\n\n"):
            console.print(Padding(Text(" ".join(paragraph.split())), (1, 0, 0, 0)))
        panels: dict[str, list[TyperOption]] = {}
        for option in options:
            panels.setdefault(option.rich_help_panel or "Options", []).append(option)
        if arguments:
            _print_panel(console, "Arguments", [(Text(_usage(param), "bold cyan"), param) for param in arguments])
        for panel in sorted(panels, key=lambda panel: panel != "Options"):
            _print_panel(console, panel, [(_names(param, ctx), param) for param in panels[panel]])


def _usage(argument: TyperArgument) -> str:
    name = (argument.name or "").upper() + "..." * (argument.nargs == -1)
    return name if argument.required else f"[{name}]"


def _names(option: TyperOption, ctx: Any) -> Text:
    kind = "" if option.is_flag else f" {option.metavar or option.display_type_rich(ctx)}"
    return Text.assemble((", ".join([*option.opts, *option.secondary_opts]), "bold cyan"), (kind, "yellow"))


def _print_panel(console: Console, title: str, rows: Iterable[tuple[Text, TyperArgument | TyperOption]]) -> None:
    console.print(Padding(Text(title, "bold"), (1, 0, 0, 0)))
    for names, param in rows:
        console.print(Padding(names, (0, 0, 0, 2)))
        console.print(Padding(Text.assemble(param.help or "", (_default(param), "dim")), (0, 0, 0, 6)))


def _default(param: TyperArgument | TyperOption) -> str:
    if param.required:
        return " [required]"
    if isinstance(param.show_default, str):
        return f" [{param.show_default}]"
    known = param.show_default and param.default is not None and param.default is not False
    return f" [default: {param.default}]" if known else ""
