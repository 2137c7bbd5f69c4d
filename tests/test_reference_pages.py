"""The reference pages are made from the code, and hold every command, setting and public name with its description."""

import inspect
import sys
from pathlib import Path

import openjepa
from openjepa.commands import COMMANDS
from openjepa.config import FIELDS
from openjepa.errors import option
from openjepa.exploring.routes.table import ROUTES

DOCS = Path(__file__).parents[1] / "docs"


def test_every_command_setting_and_public_name_is_described(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS))
    import make_reference

    make_reference.write(tmp_path)
    commands, settings, python = ((tmp_path / f"{name}.md").read_text() for name in ("commands", "settings", "python"))
    for command in COMMANDS:
        section = commands.partition(f"\n## {command.name}\n")[2].partition("\n## ")[0]
        assert command.help in section and f"Usage: openjepa {command.name}" in section
        assert "--help" in section and "\x1b" not in section
    assert all(f"| `{option(name)}` | " in settings for name in FIELDS)
    for name in set(openjepa.__all__) - {"__version__"}:
        section = python.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        first = (inspect.getdoc(getattr(openjepa, name)) or "").splitlines()[0].replace("<", "&lt;")
        assert first and f"{name}" in section and first in section, name
    assert " object at 0x" not in python and "Annotated" not in python
    http = (tmp_path / "http.md").read_text()
    for route in ROUTES:
        section = http.partition(f"\n## {route.method} {route.path}\n")[2].partition("\n## ")[0]
        assert make_reference.escaped(route.about) in section and "Gives" in section
        assert route.body is None or "The body is" in section
    sys.modules.pop("make_reference")
