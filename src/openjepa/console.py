"""Output of commands: plain lines, and progress that is live on a terminal and an occasional line elsewhere."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

# Of several processes (torchrun sets RANK) one speaks.
console = Console(highlight=False, soft_wrap=True, quiet=os.environ.get("RANK", "0") != "0")


def log(*lines: str) -> None:
    for line in lines:
        console.print(line, markup=False)


@contextlib.contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar over (done, total); silent where there is no terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


class TrainingDisplay:
    """The latest record of a run: one live line on a terminal, a line every half minute elsewhere."""

    def __init__(self, steps: int, done: int) -> None:
        columns = (
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
        )
        self.progress = Progress(*columns, console=console, disable=not console.is_terminal)
        self.task = self.progress.add_task("starting", total=steps, completed=done)
        self.steps, self.state, self.spoken = steps, {}, 0.0
        self.begun, self.first = time.monotonic(), done

    def __enter__(self) -> "TrainingDisplay":
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def __call__(self, record: dict) -> None:
        changed = record.get("status", self.state.get("status")) != self.state.get("status")
        self.state |= record | ({"probed": record["step"]} if "knn" in record else {})
        self.progress.update(self.task, completed=record["step"], description=self.line())
        if changed:
            log(f"step {record['step']:,}: {record['verdict']}")
        quiet = not console.is_terminal and time.monotonic() - self.spoken > 30
        if quiet or (not console.is_terminal and record["step"] == self.steps):
            log(f"step {record['step']:,}/{self.steps:,}  {self.line()}  {self.time_left(record['step'])}")
            self.spoken = time.monotonic()

    def line(self) -> str:
        now = self.state
        parts = [f"{now['images_per_second']:,.0f} images/s"] if "images_per_second" in now else []
        parts += [f"loss {now['loss']:.4f}"] if "loss" in now else []
        parts += [f"rank {now['rank']:.1f}", now["status"]] if "rank" in now else []
        parts += [f"k-NN {now['knn']:.1%} at step {now['probed']:,}"] if "knn" in now else []
        parts += [f"{now['memory'] / 2**30:.1f} GiB"] if "memory" in now else []
        return " · ".join(parts)

    def time_left(self, step: int) -> str:
        rate = (step - self.first) / max(time.monotonic() - self.begun, 1e-9)
        return f"{duration((self.steps - step) / rate)} left" if rate else ""


def duration(seconds: float) -> str:
    """Seconds in words: 45 s, 3 min 20 s, 2 h 5 min, 3 d 4 h."""
    whole = round(seconds)
    for size, unit, smaller, subunit in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {unit}" + (f" {rest} {subunit}" if rest else "")
    return f"{whole} s"
