"""What is printed, and what a run shows while it trains."""

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from openjepa import console
from openjepa.console import Pace, TrainingDisplay
from openjepa.errors import print_error
from openjepa.runs.outputs import show_records


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is set."""
    now = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    return now


def test_a_probe_is_shown_in_the_line_of_its_own_step_only(capsys):
    display = TrainingDisplay(steps=100, done=0, batch_size=8)
    display({"step": 0, "rank": 9.0, "status": "early", "verdict": "too early to say", "knn": 0.25})
    assert "k-NN 25.0%" in display.line()
    display({"step": 60, "loss": 0.5})
    assert "k-NN" not in display.line()
    display({"step": 80, "loss": 0.4, "knn": 0.5})
    assert "k-NN 50.0%" in display.line()
    assert "step 80/100" in capsys.readouterr().out  # where there is no terminal, every probe has a line


def test_advice_is_given_once_for_a_status_and_again_at_the_end(capsys):
    display = TrainingDisplay(steps=100, done=0, batch_size=8)
    for step, status in enumerate(("early", "weak", "healthy", "weak", "weak", "weak")):
        advice = {"advice": "Train longer."} if status == "weak" else {}
        display({"step": 20 * step, "rank": 9.0, "status": status, "verdict": f"{status}: rank 9.", **advice})
    said = [
        line.split(": ", 1)[1]
        for line in capsys.readouterr().out.splitlines()
        if line.startswith("step") and ": " in line
    ]
    assert said == [
        "early: rank 9.",
        "weak: rank 9. Train longer.",
        "healthy: rank 9.",
        "weak: rank 9.",
        "weak: rank 9. Train longer.",
    ]


def test_only_what_a_method_measures_is_shown():
    display = TrainingDisplay(steps=10, done=0, batch_size=8)
    display({"step": 5, "loss": 0.5, "images_per_second": 80.0})
    assert display.line().startswith("80 images/s · loss 0.5000")


def test_the_rate_is_smoothed(clock):
    pace = Pace(100, 0, batch_size=10)
    clock[0] = 1.0
    pace.update({"step": 10, "images_per_second": 100.0})  # 0.1 s a step
    assert pace.images_per_second == pytest.approx(100)
    clock[0] = 3.0
    pace.update({"step": 20, "images_per_second": 50.0})  # 0.2 s a step
    assert pace.images_per_second == pytest.approx(10 / (0.1 + 0.3 * 0.1))


def test_the_time_left_counts_in_what_is_not_a_step(clock):
    pace = Pace(100, 0, batch_size=10)
    clock[0] = 4.0  # of which 2 s were steps
    pace.update({"step": 20, "images_per_second": 100.0})
    assert pace.seconds_left == pytest.approx(80 * 0.1 * 2)


def test_a_resumed_run_counts_its_own_steps_only(clock):
    pace = Pace(100, 60, batch_size=10)
    clock[0] = 1.0
    pace.update({"step": 70, "images_per_second": 100.0})
    assert pace.seconds_left == pytest.approx(30 * 0.1)


FOREIGN = "[/red] [bold]b[/bold] :smile: \x1b[2J\u202e"
SHOWN = r"[/red] [bold]b[/bold] :smile: \x1b[2J\u202e"
USES = re.compile(r"^\s*(from rich|import rich)|(?<![.\w])print\(", re.M)


@pytest.fixture
def printed(monkeypatch):
    """A terminal of 200 columns; gives what was printed on it, without the styles."""
    stream = io.StringIO()
    monkeypatch.setenv("TERM", "xterm")
    for name, value in (("_file", stream), ("_width", 200), ("_force_terminal", True), ("is_interactive", True)):
        monkeypatch.setattr(console.console, name, value)
    return lambda: re.sub(r"\x1b\[\??[0-9;]*[a-zA-Z]", "", stream.getvalue())


def show_progress(text):
    with console.counting(text) as progress:
        progress(1, 2)


def show_work(text):
    with console.working(text):
        pass


@pytest.mark.parametrize("printing", [console.log, show_progress, show_work])
def test_foreign_text_is_no_markup_and_no_escape_sequence(printing, printed):
    printing(FOREIGN)
    assert SHOWN in printed()


def test_a_table_shows_foreign_text_in_every_place(printed):
    console.show_table(["", FOREIGN], [[FOREIGN, console.Bold(FOREIGN)]], title=FOREIGN, right=True)
    assert printed().count(SHOWN) == 4


def test_a_table_wider_than_the_terminal_is_printed_in_parts(printed, monkeypatch):
    monkeypatch.setattr(console.console, "_width", 40)
    head = ["", "first", "second", "third"]
    rows = [["AUROC", "91.4 (83.0-97.7)", "91.2 (82.8-97.3)", "91.8"], ["found", "3.3", console.NONE, console.NONE]]
    console.show_parts(head, rows, title="in %")
    lines = [line.split("  ") for line in printed().splitlines()]
    words = [[word.strip() for word in line if word.strip()] for line in lines]
    assert [line for line in words if line and "─" not in line[0]] == [
        ["in %"],
        ["first"],
        ["AUROC", "91.4 (83.0-97.7)"],
        ["found", "3.3"],
        ["second", "third"],
        ["AUROC", "91.2 (82.8-97.3)", "91.8"],
    ]
    assert max(map(len, printed().splitlines())) <= 40


def test_the_table_of_results_shows_labels_and_models_as_they_are_named(printed):
    record = {"model": "br[x]k", "task": "linear:[/red]", "metric": "accuracy", "value": 0.5, "low": 0.4, "high": 0.6}
    show_records([record])
    assert "br[x]k" in printed() and "linear [/red]" in printed()


def test_errors_are_one_line_without_escape_sequences(capsys):
    print_error(f"two\nlines {FOREIGN}")
    assert capsys.readouterr().err == f"openjepa: two lines {SHOWN}\n"


def test_only_the_console_prints():
    """Elsewhere neither rich, which interprets markup, nor print is used."""
    source = Path(console.__file__).parent
    using = {str(path.relative_to(source)) for path in source.rglob("*.py") if USES.search(path.read_text())}
    assert using == {"console.py", "commands/arguments/help_screen.py", "cli.py", "errors.py"}


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [("utf-8", "5 · 2 ± 1 – Å"), ("latin-1", "5 - 2 +- 1 - Å"), ("ascii", "5 - 2 +- 1 - \\xc5")],
)
def test_an_encoding_that_lacks_characters_ends_nothing(monkeypatch, encoding, expected):
    stream = io.TextIOWrapper(io.BytesIO(), encoding)
    monkeypatch.setattr(console.sys, "stdout", stream)
    console.log("5 · 2 ± 1 – Å")
    stream.flush()
    assert stream.buffer.getvalue().decode(encoding) == f"{expected}\n"


class Full(io.TextIOBase):
    encoding = "utf-8"

    def write(self, text):
        raise OSError(28, "No space left on device")

    def flush(self):
        self.write("")


def test_output_that_cannot_be_printed_ends_nothing(monkeypatch):
    monkeypatch.setattr(console, "UNPRINTED", [])
    for stream in (Full(), None):
        monkeypatch.setattr(console.sys, "stdout", stream)
        console.log("a line")
        console.show_table(["a"], [["b"]])
    assert {error.errno for error in console.UNPRINTED} == {28}


NOTEBOOK = """
import builtins, sys, types

sys.modules["ipykernel"] = types.ModuleType("ipykernel")

class ZMQInteractiveShell:  # what rich knows a notebook by
    pass

builtins.get_ipython = ZMQInteractiveShell
from openjepa.console import counting, log, show_table, working

log("a line", "another")
with working("thinking"), counting("counting") as count:
    count(1, 2)
show_table(("name", "value"), [("a", "1")])
"""


def test_a_notebook_gets_plain_lines_and_no_html():
    kernel = os.environ | {"FORCE_COLOR": "1", "TERM": "xterm-color"}
    done = subprocess.run([sys.executable, "-c", NOTEBOOK], capture_output=True, text=True, env=kernel)
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.startswith("a line\nanother\n") and "name" in done.stdout
    assert not any(word in done.stdout for word in ("<", "ipywidgets", "\x1b", "thinking"))
