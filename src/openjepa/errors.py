"""Errors that the command line reports in one line, and the words that their messages share."""

import difflib
import sys
from collections.abc import Iterable
from typing import Any

from openjepa.escaping import terminal

REASON = 200  # characters
QUOTED = 60  # characters of a text that a message quotes


class UsageError(ValueError):
    """An input that the user can correct. One line: what was given, what is allowed, what to do.

    The command line prints the message without a traceback and exits with code 2.
    """


class RankZeroError(Exception):
    """The cause of an error that rank 0 raised and reported, where the other processes raise it too."""


class CheckFailed(Exception):
    """A check that the user asked for failed; the message, one line, says how. The command line exits with code 1."""


class BadImage(ValueError):
    """One file that cannot be used as an image; the message is the reason.

    Such files are skipped, counted and listed; a single one does not end a run. A long reason is cut to 200 characters.
    """

    def __init__(self, reason: str) -> None:
        line = reason.replace("\n", " ")
        super().__init__(line if len(line) <= REASON else line[: REASON - 3] + "...")


UNPRINTED: list[OSError] = []  # why output could not be printed; the command line says so at the end


def print_error(message: str) -> None:
    """Print a message, which may quote foreign text, as one line on stderr."""
    print(f"openjepa: {terminal(' '.join(message.split()))}", file=sys.stderr)


def option(name: str) -> str:
    """A setting as it is given on the command line."""
    return "--" + name.replace("_", "-")


def quoted(text: str) -> str:
    """A given text as a message quotes it: 60 characters at most."""
    return text if len(text) <= QUOTED else text[: QUOTED - 3] + "..."


def shown(value: Any) -> str:
    """A value of a setting as it is given on the command line."""
    if isinstance(value, tuple | list):
        return " ".join(map(shown, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def unknown(what: str, given: Any, known: Iterable[str]) -> str:
    """The message for an unknown name, with the nearest that is known."""
    known = list(known)
    alike = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(str(given), known, n=1)
    near = near or [alike[name] for name in difflib.get_close_matches(str(given).casefold(), alike, n=1)]
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"{what} {given} is not known: known are {', '.join(known)}{hint}"
