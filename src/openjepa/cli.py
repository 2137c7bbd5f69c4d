"""The command line: every command is a function of the same name, and its options are that function's keywords."""

import os
import sys

import typer

from openjepa._version import __version__
from openjepa.commands.bench import bench
from openjepa.commands.data_check import data_check
from openjepa.commands.data_prepare import data_prepare
from openjepa.commands.demo import demo
from openjepa.commands.embed import embed
from openjepa.commands.evaluate import evaluate
from openjepa.commands.export import export
from openjepa.commands.import_ import import_
from openjepa.commands.masks import masks
from openjepa.commands.predict import predict
from openjepa.commands.pretrain import pretrain
from openjepa.commands.report import report
from openjepa.commands.tune import tune
from openjepa.config import given_options
from openjepa.errors import CheckFailed, UsageError

app = typer.Typer(
    name="openjepa",
    help="Self-supervised learning for images by I-JEPA: a folder of images becomes a trained, measured encoder.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (demo, pretrain, tune, evaluate, predict, embed, report, masks, import_, export, bench):
    app.command(command.__name__.rstrip("_"))(command)
data = typer.Typer(help="Check a set of images, or prepare a smaller copy of it.", no_args_is_help=True)
for command in (data_check, data_prepare):
    data.command(command.__name__.removeprefix("data_"))(command)
app.add_typer(data, name="data")

# Typer's own error class is not public under a name of its own.
CommandLineError = typer.BadParameter.__mro__[2]


def print_version(wanted: bool) -> None:
    if wanted:
        print(f"openjepa {__version__}")
        raise typer.Exit


@app.callback()
def options(version: bool = typer.Option(False, "--version", callback=print_version, is_eager=True)) -> None:
    pass


def main() -> None:
    """Run the command line; a person's mistake ends in one line on stderr and exit code 2."""
    try:
        status = app(given_options(sys.argv[1:]), standalone_mode=False)
    except (UsageError, CommandLineError) as error:
        message = error.format_message() if isinstance(error, CommandLineError) else str(error)
        rank, told = os.environ.get("RANK", "0"), any(getattr(e, "told", False) for e in (error, error.__cause__))
        if rank != "0":
            message = "" if told else f"process {rank}: {message}"
        if message:  # none where the help was asked for by giving no words at all
            print(f"openjepa: {' '.join(message.split())}", file=sys.stderr)
        status = 2
    except CheckFailed as error:
        print(f"openjepa: {error}", file=sys.stderr)
        status = 1
    except (KeyboardInterrupt, typer.Abort):
        status = 130
    sys.exit(status if isinstance(status, int) else 0)
