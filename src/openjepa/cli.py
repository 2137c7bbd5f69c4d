"""The command line: every command is a function of the same name, and its options are that function's keywords."""

import contextlib
import difflib
import errno
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from itertools import pairwise, takewhile
from typing import Any

import typer

from openjepa._version import __version__
from openjepa.commands import COMMANDS, GROUPS, Command
from openjepa.errors import UNPRINTED, CheckFailed, RankZeroError, UsageError, print_error
from openjepa.renamed import given_options
from openjepa.waited import started

INTERRUPTED = 130  # the exit code of a shell's command after Ctrl-C
HELP = "Self-supervised learning for images by I-JEPA: a folder of images becomes a trained, measured encoder."


def main() -> None:
    """Run the command line. An error that the user can correct is one line on stderr and exit code 2."""
    with ended_by_signals(), started():
        sys.exit(flushed(status_of(sys.argv[1:])))


def status_of(words: list[str]) -> int:
    """Run a command line; gives the exit code, and prints an error that the user can correct."""
    try:
        return run(given_options(words))
    except typer.TyperException as error:
        return report_error(in_words(error, words), error)
    except UsageError as error:
        return report_error(str(error), error)
    except OSError as error:
        return report_error(": ".join(filter(None, (error.filename, error.strerror or str(error)))), error)
    except CheckFailed as error:
        print_error(str(error))
        return 1
    except (KeyboardInterrupt, typer.Abort):
        if threading.current_thread() is threading.main_thread():  # nothing is left to do but to clean up
            signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
        return INTERRUPTED


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Within this context termination and a closed terminal end the process in order: unfinished files are deleted.

    A signal that is ignored stays so: nohup has SIGHUP ignored.
    """
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        numbers = []
    before = {number: signal.getsignal(number) for number in numbers if signal.getsignal(number) == signal.SIG_DFL}
    try:
        for number in before:
            signal.signal(number, lambda caught, _: sys.exit(128 + caught))
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def flushed(status: int) -> int:
    """The exit code once stdout has been written; where it cannot be, one line says why. A closed pipe is no error."""
    try:
        if sys.stdout:
            sys.stdout.flush()
    except OSError as error:
        UNPRINTED.append(error)
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left in the buffer goes there
    if UNPRINTED and UNPRINTED[0].errno != errno.EPIPE and status == 0:
        return report_error(f"the output cannot be printed: {UNPRINTED[0].strerror}", UNPRINTED[0])
    return status


def run(words: list[str]) -> int:
    """Parse the words of a command line, then call the function of the command that they name; gives the exit code."""
    check_not_empty(words)
    command, options = parse(words)
    if not command or isinstance(options, int):  # help and version give an exit code
        return options or 0
    command.load()(**{name: value for name, value in vars(options).items() if value is not None})
    return 0


def check_not_empty(words: list[str]) -> None:
    """Raise UsageError where a word, or the value of an option, is empty: what was meant was left out by a mistake."""
    for before, word in pairwise(["", *words]):
        option, equals, value = word.partition("=")
        given_so = option if word.startswith("--") and equals else before if before.startswith("--") else ""
        if not (value if word.startswith("--") and equals else word).strip():
            raise UsageError(f"{given_so or 'an argument'} is empty: give a value, or leave it out")


# What the parser says, as a pattern, and how it is said here.
MESSAGES = {
    r"Missing argument '(\w+)'.*": lambda m: f"{m[1].upper()} is missing: give it, or see --help",
    r"Missing option '(\S+)'.*": lambda m: f"{m[1]} is missing: give it with a value",
    r"Option '(\S+)' requires (an|\d+) arguments?.*": lambda m: (
        f"{m[1]} needs {m[2].replace('an', 'a')} "
        f"value{'s' * (m[2] != 'an')}: give {'it' if m[2] == 'an' else 'them'} after the option"
    ),
    r"Option '(\S+)' does not take a value.*": lambda m: f"{m[1]} takes no value: give the option alone",
    r"No such command '(.+)'\.(?: Did you mean (.+)\?)?.*": lambda m: (
        f"{m[1]} is not a command: " + (f"did you mean {m[2]}?" if m[2] else "see openjepa --help")
    ),
    r"Got unexpected extra arguments? \((.*)\)": lambda m: (
        f"{m[1]} is more than the command takes: leave it out, or quote a name that has spaces"
    ),
}
KINDS = {"valid number": "a number", "valid integer": "a whole number"}


def in_words(error: typer.TyperException, words: list[str]) -> str:
    """What is wrong with a command line, in one line: what was given, what is allowed, what to do."""
    said = error.format_message().replace("argument(s)", "arguments")
    if possible := getattr(error, "possibilities", None):
        name = getattr(error, "option_name", "")
        near = difflib.get_close_matches(name, possible, n=1) or possible[:1]
        return f"{name} is not an option of this command: did you mean {near[0]}?"
    options = getattr(getattr(error, "param", None), "opts", ["--"])
    allowed = next((text for kind, text in KINDS.items() if kind in said), None)
    if allowed:
        return f"{options[0]} {value_of(options, words)} is not possible: give {allowed}"
    found = ((re.fullmatch(pattern, said), text) for pattern, text in MESSAGES.items())
    return next((text(match) for match, text in found if match), said)


def value_of(options: list[str], words: list[str]) -> str:
    """What a command line gives for an option: the word after it, or those up to the next option."""
    for place, word in enumerate(words):
        if word in options:
            return " ".join(takewhile(lambda word: not word.startswith("--"), words[place + 1 : place + 3]))
        if word.partition("=")[0] in options:
            return word.partition("=")[2]
    return ""


def parse(words: list[str]) -> tuple[Command | None, Any]:
    """The command that words name and an object with its options, or an exit code after help has been printed."""
    named = next((command for command in COMMANDS if words[: len(command.words)] == command.words), None)
    return named, build_app(named)(words, standalone_mode=False)


def build_app(named: Command | None) -> typer.Typer:
    """A parser that knows the options of one command, which it returns, and the names and help of the others."""
    app = typer.Typer(name="openjepa", help=HELP, no_args_is_help=True, add_completion=False)
    app.callback()(common_options)
    parents = {"": app} | {name: typer.Typer(help=text, no_args_is_help=True) for name, text in GROUPS.items()}
    for command in COMMANDS:
        *group, name = command.words
        parent = parents[" ".join(group)]
        if command is named:
            command.add_to(parent)
        else:
            parent.command(name, help=command.help, rich_help_panel=None if group else command.panel)(no_options)
    for name in GROUPS:
        app.add_typer(parents[name], name=name)
    return app


def no_options() -> None:
    """A command that is listed and not run."""


def print_version(wanted: bool) -> None:
    if wanted:
        print(f"openjepa {__version__}")
        raise typer.Exit


def common_options(
    version: bool = typer.Option(False, "--version", help="Print the version.", callback=print_version, is_eager=True),
) -> None:
    """Options of the command line as a whole."""


def report_error(message: str, error: BaseException) -> int:
    """Print an error in one line; of several processes each says its own, and only rank 0 what it raised in all."""
    rank = os.environ.get("RANK", "0")
    if rank != "0":
        message = "" if of_rank_zero(error) else f"process {rank}: {message}"
    if message:  # empty where help was printed because no words were given
        print_error(message)
    return 2


def of_rank_zero(error: BaseException | None) -> bool:
    """Whether an error, or one that it follows from, was raised in rank 0."""
    return error is not None and (isinstance(error, RankZeroError) or of_rank_zero(error.__cause__))
