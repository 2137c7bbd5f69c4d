"""Write the reference pages from the code's own entries: every command, every setting, every public name.

python docs/make_reference.py docs/reference
"""

import contextlib
import inspect
import io
import json
import re
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

import openjepa
from openjepa.cli import parse
from openjepa.commands import COMMANDS
from openjepa.commands.arguments.options import Settings, value_text
from openjepa.config import FIELDS, build_config, help_of
from openjepa.errors import option
from openjepa.exploring.openapi import ADDRESS, ERRORS, document, parts_of
from openjepa.exploring.routes.table import MOST_UPLOAD, ROUTES
from openjepa.recipe_settings import RECIPES, recipe

COLUMN = re.compile(r"(\S+(?: \S+)*)  +(\S.*)")  # "name   what it is": a line of a list in a docstring


def commands_page() -> str:
    parts = ["# Commands", "What `openjepa COMMAND --help` prints."]
    for command in COMMANDS:
        parts += [f"## {command.name}", command.help, f"```text\n{help_screen(command.words)}\n```"]
    return "\n\n".join(parts) + "\n"


def help_screen(words: list[str]) -> str:
    """The help of a command as it is printed on 110 columns, without colours."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), _terminal(110):
        parse([*words, "--help"])
    screen = "\n".join(line.rstrip() for line in out.getvalue().splitlines()).strip()
    command = re.escape(" ".join(words))
    return re.sub(rf"\AUsage: .*?(?= {command} )", "Usage: openjepa", screen)  # whatever program this one is


@contextlib.contextmanager
def _terminal(width: int) -> Iterator[None]:
    """Within this context help is printed on so many columns."""
    size = Console.size
    Console.size = property(lambda _: type("Size", (), {"width": width, "height": 50})())  # type: ignore[assignment]
    try:
        yield
    finally:
        Console.size = size  # type: ignore[method-assign]


def settings_page() -> str:
    """A table of the settings for each panel of the help screen, with the value that each recipe has."""
    values = {name: vars(build_config(recipe(name), {})) for name in RECIPES}
    parts = [
        "# Settings",
        "The settings of a run are options of `openjepa pretrain` and keywords of `openjepa.pretrain`. Without a "
        "recipe, the images, the device and the time choose one; an option that is given always wins.",
        "\n".join(f"- `{name}`: {entry.help}" for name, entry in RECIPES.items()),
    ]
    for panel in dict.fromkeys(about.metadata["panel"] for about in FIELDS.values()):
        parts += [f"## {panel}", _table(panel, values)]
    return "\n\n".join(parts) + "\n"


def _table(panel: str, values: dict[str, dict[str, Any]]) -> str:
    lines = [f"| option | meaning | {' | '.join(values)} |", "|" + "---|" * (2 + len(values))]
    for name in (name for name, about in FIELDS.items() if about.metadata["panel"] == panel):
        cells = [value_text(each[name]).replace("|", "\\|") for each in values.values()]
        lines.append(f"| `{option(name)}` | {escaped(help_of(name))} | {' | '.join(cells)} |")
    return "\n".join(lines)


def escaped(text: str) -> str:
    """Text in a cell of a table, of which nothing is Markdown."""
    return re.sub(r"([|<>*_\[\]])", r"\\\1", " ".join(text.split()))


def python_page() -> str:
    parts = ["# Python", "All public names of the package `openjepa`."]
    for name in sorted(set(openjepa.__all__) - {"__version__"}, key=str.lower):
        parts += _entry(name, getattr(openjepa, name))
    return "\n\n".join(parts) + "\n"


def _entry(name: str, thing: Any) -> list[str]:
    """The section of a function or a class, the latter with its public methods and properties."""
    parts = [f"## {name}", f"```python\n{signature(name, thing)}\n```", described(thing)]
    if inspect.isclass(thing):
        for member in [key for key, value in vars(thing).items() if not key.startswith("_") and inspect.getdoc(value)]:
            found = inspect.getattr_static(thing, member)
            called = found.fget if isinstance(found, property) else getattr(found, "__func__", found)
            kind = "property " if isinstance(found, property) else ""
            shown = signature(f"{name}.{member}", called) if callable(called) else f"{name}.{member}"
            parts += [f"### {name}.{member}", f"```python\n{kind}{shown}\n```", described(found)]
    return parts


def signature(name: str, thing: Any) -> str:
    """The call with types, a parameter a line where it is long."""
    try:
        found = inspect.signature(thing)
    except (TypeError, ValueError):
        return name
    words = [_parameter(each) for each in _with_stars(list(found.parameters.values()))]
    returned = "" if found.return_annotation is inspect.Signature.empty else f" -> {_kind(found.return_annotation)}"
    line = f"{name}({', '.join(words)}){returned}"
    return line if len(line) <= 100 else f"{name}(\n    " + ",\n    ".join(words) + f",\n){returned}"


def _with_stars(parameters: list[inspect.Parameter]) -> Iterator[inspect.Parameter | str]:
    keywords = False
    for each in parameters:
        if each.kind is inspect.Parameter.KEYWORD_ONLY and not keywords:
            keywords = True
            yield "*"
        if each.name != "self":
            yield each


def _parameter(parameter: inspect.Parameter | str) -> str:
    if isinstance(parameter, str):
        return parameter
    stars = {inspect.Parameter.VAR_KEYWORD: "**", inspect.Parameter.VAR_POSITIONAL: "*"}.get(parameter.kind, "")
    kind = "" if parameter.annotation is inspect.Parameter.empty else f": {_kind(parameter.annotation)}"
    value = f"Path({str(parameter.default)!r})" if isinstance(parameter.default, Path) else repr(parameter.default)
    default = "" if parameter.default is inspect.Parameter.empty else f" = {value}"
    return f"{stars}{parameter.name}{kind}{default}"


def _kind(annotation: Any) -> str:
    """An annotation as it is written in code, without what Annotated adds."""
    if typing.get_origin(annotation) is typing.Annotated:
        (found, *about) = typing.get_args(annotation)
        return "settings" if any(isinstance(each, Settings) for each in about) else _kind(found)
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return re.sub(r"\b(?:[a-z_]+\.)+(?=[A-Z])", "", text)


def described(thing: Any) -> str:
    """A docstring as Markdown: aligned columns become lists, all else stays."""
    lines, parts = (inspect.getdoc(thing) or "").splitlines(), []
    for line in lines:
        column = COLUMN.fullmatch(line)
        parts.append(f"- `{column[1]}`: {column[2]}" if column else line)
    return "\n".join(parts).replace("<", "&lt;")


def http_page() -> str:
    """A section for each route of the server, with what it takes and gives."""
    schemas = document()["components"]["schemas"]
    errors = ", ".join(f"{code} ({words[0].lower()}{words[1:]})" for code, words in ERRORS.items())
    parts = [
        "# HTTP",
        "What `openjepa serve INDEX` and `openjepa explore INDEX` answer, and in part `openjepa serve MODEL`. Each "
        f"request has the header `Authorization: Bearer TOKEN`. `GET {ADDRESS}` gives this page for programs (OpenAPI "
        "3.1). Numbers in binary answers are little endian; a place is the number of an image in stored order, from 0, "
        'and stays the same while the server runs. An error is `{"error": "one sentence"}` with the status '
        f"{errors}.",
    ]
    for route in ROUTES:
        alone = ["A server of a model has it too."] if route.model else []
        parts += [f"## {route.method} {route.path}", escaped(route.about), *alone, *_fields(route, schemas)]
    return "\n\n".join(parts) + "\n"


def _fields(route: Any, schemas: dict[str, Any]) -> Iterator[str]:
    """Lists of what a route takes and gives."""
    if names := parts_of(route.path):
        yield "\n".join(f"- `{name}` in the path: {escaped(route.words[name])}" for name in names)
    if route.query:
        fields = route.query.model_json_schema()["properties"]
        yield "\n".join(f"- `{name}` behind the `?`: {_described_field(about)}" for name, about in fields.items())
    if isinstance(route.body, int):
        yield f"The body is a file of at most {MOST_UPLOAD // 2**20} MB."
    elif route.body:
        yield from _listed("The body is JSON", route.body.__name__, schemas)
    if isinstance(route.gives, tuple):
        media = " or ".join(f"`{kind.partition(';')[0]}`" for kind in route.gives)
        yield f"Gives {media}."
    else:
        yield from _listed("Gives JSON", route.gives.__name__, schemas)


def _listed(what: str, name: str, schemas: dict[str, Any]) -> Iterator[str]:
    """The fields of a schema, then those of the schemas in it."""
    fields = schemas[name]["properties"]
    yield f"{what}:\n\n" + "\n".join(f"- `{field}`: {_described_field(about)}" for field, about in fields.items())
    for inner in dict.fromkeys(re.findall(r"#/components/schemas/(\w+)", json.dumps(fields))):
        yield from _listed(inner, inner, schemas)


def _described_field(about: dict[str, Any]) -> str:
    """The type of a field, its default and what it is."""
    default = f", {json.dumps(about['default'])} unless given" if about.get("default") not in (None, []) else ""
    words = f": {about['description']}" if "description" in about else ""
    return escaped(f"{_json_kind(about)}{default}{words}")


def _json_kind(about: dict[str, Any]) -> str:
    """A type of JSON Schema in words."""
    if "anyOf" in about:
        kinds = dict.fromkeys(_json_kind(each) for each in about["anyOf"])
        return " or ".join([*(kind for kind in kinds if kind != "null"), *(["null"] if "null" in kinds else [])])
    if "$ref" in about:
        return about["$ref"].rpartition("/")[2]
    if "enum" in about:
        return " or ".join(json.dumps(each) for each in about["enum"])
    if about.get("type") == "array":
        return f"list of {_json_kind(about['items'])}" if "items" in about else f"list of {about.get('maxItems', '')}"
    return about.get("type", "any value")


PAGES = {"commands": commands_page, "settings": settings_page, "python": python_page, "http": http_page}


def write(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (folder / f"{name}.md").write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
