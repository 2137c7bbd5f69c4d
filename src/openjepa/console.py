"""Output of commands: plain lines, tables, and progress that is live on a terminal and an occasional line elsewhere.

Only this module prints, and it interprets no markup: text is escaped, and style is given beside it.
"""

import contextlib
import io
import os
import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, cast

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from openjepa.errors import UNPRINTED
from openjepa.escaping import terminal
from openjepa.waited import waited

SMOOTHING = 0.3  # weight of the latest line of the log in the rate that is shown
# Of several processes (torchrun sets RANK) one prints.
QUIET = os.environ.get("RANK", "0") != "0"
NONE = "–"  # a cell of a table without a value
PLAIN = str.maketrans({"·": "-", "–": "-", "…": "...", "±": "+-", "×": "x"})  # where an encoding lacks these


class Output(io.TextIOBase):
    """The current sys.stdout, whose encoding or failure (a full disk, a closed terminal) does not end a command."""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(sys.stdout, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        with unprinted():
            if sys.stdout:
                sys.stdout.write(encodable(text, self.encoding))
        return len(text)

    def flush(self) -> None:
        with unprinted():
            if sys.stdout:
                sys.stdout.flush()

    def close(self) -> None:
        """Nothing: sys.stdout is closed by the interpreter, which may have unloaded this module by then."""

    def isatty(self) -> bool:
        return bool(sys.stdout) and sys.stdout.isatty()

    def fileno(self) -> int:
        return sys.stdout.fileno()


@contextlib.contextmanager
def unprinted() -> Iterator[None]:
    """Within this context an OSError of the output is noted and goes no further."""
    try:
        yield
    except OSError as error:
        UNPRINTED.append(error)


def encodable(text: str, encoding: str) -> str:
    """The text with all characters that an encoding lacks replaced."""
    try:
        text.encode(encoding)
        return text
    except UnicodeError:
        return text.translate(PLAIN).encode(encoding, "backslashreplace").decode(encoding)


# In a notebook rich shows each line as HTML and asks for ipywidgets. Without that it writes escape codes, because
# kernels set FORCE_COLOR. Both are turned off: a notebook gets the lines that a file would get.
IN_NOTEBOOK = "ipykernel" in sys.modules
console = Console(
    file=cast(IO[str], Output()),
    force_jupyter=False,
    force_terminal=False if IN_NOTEBOOK else None,
    markup=False,
    emoji=False,
    highlight=False,
    soft_wrap=True,
    quiet=QUIET,
)


class Bold(str):
    """A cell of a table in bold."""


def log(*lines: str) -> None:
    """Print lines."""
    for line in lines:
        console.print(Text(terminal(line)))


def show_table(head: Sequence[str], rows: Iterable[Sequence[str]], title: str = "", right: bool = False) -> None:
    """Print a table; with `right`, all columns but the first are aligned to the right."""
    console.print(_table(head, rows, title, right))


def show_parts(head: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> None:
    """Print a table of numbers; one wider than the terminal as several, each with its first column and some others.

    Rows that have nothing but `NONE` in a part are left out of it.
    """
    parts: list[list[int]] = [[]]
    for column in range(1, len(head)):
        wider = [0, *parts[-1], column]
        if parts[-1] and not fits(*_of_columns(wider, head, rows)):
            parts.append([])
        parts[-1].append(column)
    for part in parts:
        names, cells = _of_columns([0, *part], head, rows)
        show_table(names, [row for row in cells if {*row[1:]} != {NONE}], title, right=True)
        title = ""


def _of_columns(
    columns: Sequence[int], head: Sequence[str], rows: Sequence[Sequence[str]]
) -> tuple[list[str], list[list[str]]]:
    return [head[column] for column in columns], [[row[column] for column in columns] for row in rows]


def fits(head: Sequence[str], rows: Iterable[Sequence[str]]) -> bool:
    """Whether a table is no wider than the terminal, so that no cell is folded."""
    endless = console.options.update(width=10**6)
    return console.measure(_table(head, rows), options=endless).maximum <= console.width


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], title: str = "", right: bool = False) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title=terminal(title) or None, title_justify="left", title_style="")
    table.show_header = any(head)
    for number, name in enumerate(head):
        table.add_column(Text(terminal(name)), justify="right" if right and number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(terminal(cell), "bold" if isinstance(cell, Bold) else "") for cell in row))
    return table


@contextlib.contextmanager
def working(what: str) -> Iterator[None]:
    """Show what is being done, with a spinner, on a terminal."""
    with console.status(Text(terminal(what))):
        yield


@contextlib.contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar over (done, total); silent where there is no terminal."""
    columns = (_description(), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(terminal(what), total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextlib.contextmanager
def pacing(what: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """`counting` for long work: with the rate in `unit` a second, memory and time left; without a terminal a line
    each half minute."""
    columns = (_description(), BarColumn(bar_width=24), MofNCompleteColumn())
    begun, printed = time.monotonic(), time.monotonic()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(terminal(what), total=None)

        def show(done: int, total: int) -> None:
            nonlocal printed
            seconds = max(1e-9, time.monotonic() - begun)
            left = f" · {duration((total - done) * seconds / done)} left" if 0 < done < total else ""
            line = f"{what} · {done / seconds:,.0f} {unit}/s · {resident_memory() / 2**30:.1f} GiB{left}"
            progress.update(task, completed=done, total=total, description=terminal(line))
            if not console.is_terminal and time.monotonic() - printed > 30:
                log(f"{done:,}/{total:,} {line}")
                printed = time.monotonic()

        yield show


def resident_memory() -> int:
    """Bytes of memory that this process holds now, or where the system does not tell, has held at most."""
    with contextlib.suppress(OSError, ValueError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _description() -> TextColumn:
    return TextColumn("{task.description}", markup=False)


class Pace:
    """How fast a run advances: smoothed seconds of a step, and the time left with monitors and checkpoints counted in.

    `steps` and `done` are those of the run, `batch_size` images make a step.
    """

    def __init__(self, steps: int, done: int, batch_size: int) -> None:
        self.steps, self.done, self.batch_size = steps, done, batch_size
        self.begun = time.monotonic()
        self.step_seconds = 0.0  # an exponential moving average over the lines of the log
        self.stepping = 0.0  # seconds in steps so far, the rest of the time since `begun` went elsewhere

    def update(self, record: dict) -> None:
        """Take in a record with its images_per_second, which leaves monitors, probes and checkpoints out."""
        latest = self.batch_size / record["images_per_second"]
        self.stepping += (record["step"] - self.done) * latest
        self.step_seconds += (latest - self.step_seconds) * (SMOOTHING if self.step_seconds else 1)
        self.done = record["step"]

    @property
    def images_per_second(self) -> float:
        return self.batch_size / self.step_seconds

    @property
    def seconds_left(self) -> float:
        """The remaining steps at the present pace, times what all else has added to steps so far."""
        overhead = max(1.0, (time.monotonic() - self.begun) / self.stepping)
        return (self.steps - self.done) * self.step_seconds * overhead


class TrainingDisplay:
    """The latest record of a run: one live line on a terminal, elsewhere a line for each probe and half minute."""

    def __init__(self, steps: int, done: int, batch_size: int) -> None:
        columns = BarColumn(bar_width=24), MofNCompleteColumn(), _description()
        self.progress = Progress(*columns, console=console, disable=not console.is_terminal)
        self.task = self.progress.add_task("starting", total=steps, completed=done)
        self.steps, self.pace = steps, Pace(steps, done, batch_size)
        self.state: dict = {}
        self.advised = set[str]()
        self.probed = 0  # the step of the last probe
        self.printed = 0.0

    def __enter__(self) -> "TrainingDisplay":
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def __call__(self, record: dict) -> None:
        changed = record.get("status", self.state.get("status")) != self.state.get("status")
        self.state |= record
        self.probed = record["step"] if "knn" in record else self.probed
        if "images_per_second" in record:
            self.pace.update(record)
        self.progress.update(self.task, completed=record["step"], description=terminal(self.line()))
        if changed or ("verdict" in record and record["step"] == self.steps):
            log(f"step {record['step']:,}: {self._said(record)}")
        is_due = bool({"knn", "note"} & record.keys()) or time.monotonic() - self.printed > 30
        is_due = is_due or record["step"] == self.steps
        if not console.is_terminal and is_due:
            log(f"step {record['step']:,}/{self.steps:,}  {self.line()}")
            self.printed = time.monotonic()

    def _said(self, record: dict) -> str:
        """A verdict with its advice, which is given once for each status and again at the end."""
        status, advice = record["status"], record.get("advice", "")
        again = status in self.advised and record["step"] < self.steps
        self.advised.add(status)
        return record["verdict"] if again or not advice else f"{record['verdict']} {advice}"

    def line(self) -> str:
        """Rate, loss, monitors and probe, as far as they are known, and the time left."""
        now, paced = self.state, self.pace.step_seconds > 0
        parts = [f"{self.pace.images_per_second:,.0f} images/s"] if paced else []
        parts += [f"loss {now['loss']:z.4f}"] if "loss" in now else []
        parts += [f"rank {now['rank']:.1f}", now["status"]] if "rank" in now else []
        parts += [f"k-NN {now['knn']:.1%}"] if "knn" in now and self.probed == now["step"] else []
        parts += [now["note"]] if "note" in now else []
        parts += [f"{now['memory'] / 2**30:.1f} GiB"] if "memory" in now else []
        left = self.pace.seconds_left if paced else 0
        return " · ".join(parts) + (f"  {duration(left)} left" if left else "")


def took(begun: float, training: float) -> str:
    """The last line of a command that trains: how long the user has waited since it `begun`, and for the training."""
    return f"took {duration(waited(begun))} (training {duration(training)})"


def duration(seconds: float) -> str:
    """Seconds in words: 45 s, 3 min 20 s, 2 h 5 min, 3 d 4 h."""
    whole = round(seconds)
    for size, unit, smaller, subunit in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {unit}" + (f" {rest} {subunit}" if rest else "")
    return f"{whole} s"
