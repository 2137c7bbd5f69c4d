"""The stub of the package, __init__.pyi, from its functions and settings; run as a program, it writes it."""

import inspect
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from torch import nn

import openjepa
from openjepa.commands import COMMANDS
from openjepa.commands.arguments.options import Settings
from openjepa.config import FIELDS, TYPES
from openjepa.data.sources.indexed import Indexed

STUB = Path(openjepa.__file__).with_suffix(".pyi")
HEAD = '''"""Generated from the commands and the settings by tests/support/stub.py."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict, Unpack

import torch
from pyarrow import Table
from torch import nn

from openjepa._version import __version__ as __version__
'''
MODELS = {"model", "models"}  # runs, artifacts and names: text, a path or a Run
# What settings take from Python besides what Config holds.
MORE = {
    "method": "str | type[Method]",
    "model": "str | nn.Module",
    "init": "StrPath | None",
    "image_size": "str | int | tuple[int, int]",
    "time": "str | float | None",
    "device": "str | torch.device",
    "workers": "int | str",
}


def as_text(kind: Any) -> str:
    """A type as source."""
    parts = get_args(kind)
    if get_origin(kind) in (types.UnionType, Union):
        if Indexed in parts:
            return "Given | None" if type(None) in parts else "Given"
        return " | ".join(map(as_text, parts))
    if parts:
        name = "Sequence" if get_origin(kind) in (list, Sequence) else get_origin(kind).__name__
        return f"{name}[{', '.join(map(as_text, parts))}]"
    named = {type(None): "None", Path: "StrPath", nn.Module: "nn.Module"}
    return named.get(kind) or kind.__name__


def parameter(name: str, hint: Any) -> str:
    text = as_text(hint)
    if name in MODELS:
        return "StrPath | Sequence[StrPath]" if text.startswith("Sequence") else text.replace("str", "StrPath")
    return text


def returned(hint: Any) -> str:
    if hint is type(None):
        return "None"
    return str(hint).replace("typing.", "") if get_args(hint) else hint.__name__


def function(name: str, call: Any, dicts: dict[str, tuple[str, ...]]) -> str:
    """The stub of a command; the settings that it takes are noted in `dicts`."""
    hints, words, keywords = get_type_hints(call, include_extras=True), [], False
    plain = get_type_hints(call)
    for each in inspect.signature(call).parameters.values():
        if each.kind is inspect.Parameter.VAR_KEYWORD:
            settings: Settings = get_args(hints[each.name])[1]
            title = "TrainingSettings" if settings.names == tuple(FIELDS) else f"{name.title()}Settings"
            dicts[title] = settings.names
            words.append(f"**settings: Unpack[{title}]")
            continue
        if each.kind is inspect.Parameter.KEYWORD_ONLY and not keywords:
            words.append("*")
            keywords = True
        default = "" if each.default is inspect.Parameter.empty else " = ..."
        words.append(f"{each.name}: {parameter(each.name, plain[each.name])}{default}")
    lines = "".join(f"    {word},\n" for word in words if not word.startswith("**"))
    lines += "".join(f"    {word}\n" for word in words if word.startswith("**"))
    return f"def {name}(\n{lines}) -> {returned(plain['return'])}: ...\n"


def typed_dict(title: str, names: Sequence[str]) -> str:
    lines = "".join(f"    {name}: {MORE.get(name) or as_text(TYPES[name])}\n" for name in names)
    return f"class {title}(TypedDict, total=False):\n{lines}"


def stub() -> str:
    dicts: dict[str, tuple[str, ...]] = {}
    functions = [function(command.function, command.load(), dicts) for command in COMMANDS]
    names = {**openjepa._FUNCTIONS, "UsageError": "openjepa.errors", "Given": "openjepa.data.open"}
    imports = [
        f"from {module} import {name} as {name}\n" for name, module in sorted(names.items(), key=lambda e: e[::-1])
    ]
    types_ = ["StrPath = str | os.PathLike[str]\n", *(typed_dict(*each) for each in dicts.items())]
    return "\n".join([HEAD + "".join(imports), *types_, *functions])


if __name__ == "__main__":
    STUB.write_text(stub())
