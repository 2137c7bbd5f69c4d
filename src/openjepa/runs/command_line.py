"""Settings as they are given on the command line."""

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from openjepa.config import Config
from openjepa.errors import option, shown
from openjepa.own import names_own


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


def resume_command(
    data: str | None,
    out: Path,
    config: Config,
    probe: str | None = None,
    steps: int | None = None,
    log_to: str = "",
) -> str:
    """The command that resumes a run, or the call where `data` is None, a Python object, or a class is a program's.

    With `steps` the run is to have so many in all.
    """
    own = {name: value for name, value in (("method", config.method), ("model", config.model)) if names_own(value)}
    if data is not None and not own:
        words = ["openjepa", "pretrain", data, "--out", str(out), "--resume"]
        longer = ["--steps", str(steps)] if steps else []
        logged = ["--log-to", log_to] if log_to else []
        return shlex.join([*words, *longer, *(["--probe", probe] if probe else []), *logged])
    given = {name: value for name, value in (("steps", steps), ("probe", probe), ("log_to", log_to)) if value}
    return python_call("pretrain", data, out=str(out), resume=True, **own | given)


def python_call(function: str, data: str | None = None, **keywords: Any) -> str:
    """A call of a function, without a name for `data` on images that are an object: openjepa.pretrain(images, seed=1).

    A class of a program stands as it is named there.
    """
    words = {name: value.partition(":")[2] if names_own(value) else repr(value) for name, value in keywords.items()}
    given = [repr(data) if data else "images", *(f"{name}={word}" for name, word in words.items())]
    return f"openjepa.{function}({', '.join(given)})"


def setting_in_words(name: str, value: Any) -> tuple[str, str]:
    """An option and its value for a table: ("--crop-scale", "0.3 1"); a dash for None."""
    return option(name), "–" if value is None else shown(value)


def resume_same_command() -> str:
    """The command that this process was started with, with --resume; of a function, what to do."""
    command = typed_command()
    if Path(sys.argv[0]).name not in ("openjepa", "__main__.py"):
        return "the same call with resume=True"
    return command if "--resume" in sys.argv else f"{command} --resume"
