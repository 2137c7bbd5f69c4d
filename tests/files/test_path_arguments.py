"""What is no path is refused by every function of the package before it begins, in a line that names the argument."""

import inspect
import re

import pytest

import openjepa
from openjepa.commands import COMMANDS
from openjepa.errors import UsageError, option
from openjepa.files.path_arguments import path_arguments

OPENED = {"open_run": "folder", "open_index": "path", "load_encoder": "path"}
FUNCTIONS = {command.function: [*path_arguments(command.load())] for command in COMMANDS}
CASES = [(function, name) for function, names in FUNCTIONS.items() for name in names] + [*OPENED.items()]


@pytest.mark.parametrize(("function", "name"), CASES)
def test_a_path_that_is_none_is_refused(function, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call = getattr(openjepa, function)
    required = {
        key: "given"
        for key, each in inspect.signature(call).parameters.items()
        if each.default is inspect.Parameter.empty and each.kind is not inspect.Parameter.VAR_KEYWORD
    }
    for value in (5, b"run", ["run"], True):
        shown = re.escape(f"{option(name)} {value!r} is not possible: give a path")
        with pytest.raises(UsageError, match=shown):
            call(**required | {name: value})
        if name == next(iter(required), None):
            with pytest.raises(UsageError, match=shown):
                call(value)
    assert not any(tmp_path.iterdir())


def test_none_is_a_path_only_where_one_may_be_left_out(photos, tmp_path):
    with pytest.raises(UsageError, match=r"--out None is not possible: give a path, a str or pathlib.Path$"):
        openjepa.pretrain(str(photos), out=None)
    with pytest.raises(UsageError, match=r"--page 5 is not possible: give a path, a str or pathlib.Path, or None$"):
        openjepa.evaluate("pixels", str(photos), page=5)
    assert openjepa.embed("pixels", str(photos), out=tmp_path / "v.parquet", workers=0).exists()


def test_every_command_that_takes_paths_checks_them():
    assert FUNCTIONS["pretrain"] == ["out"] and FUNCTIONS["import_"] == ["dst"] and not FUNCTIONS["doctor"]
    assert all(hasattr(getattr(openjepa, name), "__wrapped__") for name, paths in FUNCTIONS.items() if paths)
