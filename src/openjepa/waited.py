"""How long the user has been waiting: since the command line was started, or in a Python program since the call."""

import contextlib
import time
from collections.abc import Iterator

_STARTED: list[float] = []  # when the command line of this process was; empty in a Python program


@contextlib.contextmanager
def started() -> Iterator[None]:
    """A command line is run within this context."""
    _STARTED.append(time.monotonic())
    try:
        yield
    finally:
        _STARTED.pop()


def waited(called: float) -> float:
    """Seconds since the command line was started, else since `called`, a time.monotonic()."""
    return time.monotonic() - min([called, *_STARTED])
