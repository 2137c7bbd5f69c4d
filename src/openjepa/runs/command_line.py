"""Settings as they are given on the command line."""

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from openjepa.errors import option, shown


def typed_command() -> str:
    """The command that this process was started with, as it can be given again."""
    program = "openjepa" if Path(sys.argv[0]).name == "__main__.py" else Path(sys.argv[0]).name
    return shlex.join([program, *sys.argv[1:]])


def option_words(settings: Mapping[str, Any]) -> list[str]:
    """The arguments that give these settings: {"lr": 0.1, "crop_scale": (0.3, 1.0)} is --lr 0.1 --crop-scale 0.3 1.0.

    A setting that is True is given by its option alone, one that is False by --no- and its name.
    """
    words = []
    for name, value in settings.items():
        if isinstance(value, bool):
            words.append(option(name if value else f"no_{name}"))
        else:
            words += [option(name), *map(str, value if isinstance(value, tuple | list) else [value])]
    return words


def resume_command(data: str | None, out: Path, probe: str | None = None) -> str:
    """The command, or of images that are a Python object (None) the call, that resumes a run with its probe."""
    if data is not None:
        words = ["openjepa", "pretrain", data, "--out", str(out), "--resume"]
        return shlex.join([*words, *(["--probe", probe] if probe else [])])
    return python_call("pretrain", out=str(out), resume=True, **({"probe": probe} if probe else {}))


def python_call(function: str, **keywords: Any) -> str:
    """A call of a function on images that are a Python object: openjepa.pretrain(images, out='runs/a')."""
    return f"openjepa.{function}({', '.join(['images', *(f'{name}={value!r}' for name, value in keywords.items())])})"


def setting_in_words(name: str, value: Any) -> tuple[str, str]:
    """An option and its value for a table: ("--crop-scale", "0.3 1"); a dash for None."""
    return option(name), "–" if value is None else shown(value)


def resume_same_command() -> str:
    """The command that this process was started with, with --resume; of a function, what to do."""
    command = typed_command()
    if Path(sys.argv[0]).name not in ("openjepa", "__main__.py"):
        return "the same call with resume=True"
    return command if "--resume" in sys.argv else f"{command} --resume"
