"""The paths among the arguments of a function, checked before it begins."""

import functools
import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar, get_args, get_origin, get_type_hints

from openjepa.errors import UsageError, option
from openjepa.safety.schema import shortened

PATHS = {Path, str, os.PathLike[str], type(None)}
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def checks_paths(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """The function, which raises UsageError where an argument must be a path and is none: `pretrain(data, out=5)`."""

    @functools.wraps(function)
    def checked(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        given: dict[str, Any] = dict(zip(inspect.signature(function).parameters, args, strict=False)) | kwargs
        for name, kinds in path_arguments(function).items():
            if name in given and not (is_path(given[name]) or (given[name] is None and type(None) in kinds)):
                raise UsageError(
                    f"{option(name)} {shortened(repr(given[name]))} is not possible: give a path, a str or pathlib.Path"
                    + ", or None" * (type(None) in kinds)
                )
        return function(*args, **kwargs)

    return checked


@functools.cache
def path_arguments(function: Callable[..., Any]) -> dict[str, tuple[Any, ...]]:
    """The arguments of a function that are annotated as paths and nothing else, with the types that they may have."""
    found = {}
    for name, hint in get_type_hints(function, include_extras=True).items():
        kind = get_args(hint)[0] if get_origin(hint) is Annotated else hint
        kinds = get_args(kind) or (kind,)
        if name != "return" and {Path, os.PathLike[str]} & {*kinds} and {*kinds} <= PATHS:
            found[name] = kinds
    return found


def is_path(value: Any) -> bool:
    """Whether a value is a path: a str, or a path object whose path is a str, not bytes."""
    return isinstance(value, str | os.PathLike) and isinstance(os.fspath(value), str)
