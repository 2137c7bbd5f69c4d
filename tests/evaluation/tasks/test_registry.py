"""The entries of tasks: all files are listed, and help, errors and the page name the same tasks."""

import inspect
import re
from pathlib import Path

import pytest

import openjepa
from openjepa.commands.evaluate import evaluate
from openjepa.evaluation.tasks import registry
from openjepa.evaluation.tasks.registry import TASKS

PAGE = Path(__file__).parents[3] / "docs" / "evaluation.md"


def test_every_file_has_an_entry():
    files = {path.stem for path in Path(registry.__file__).parent.glob("*.py")} - {"__init__", "registry"}
    assert {task.run.__module__.rpartition(".")[2] for task in TASKS.values()} == files


def test_help_and_errors_list_the_entries():
    (option,) = inspect.signature(evaluate).parameters["tasks"].annotation.__metadata__
    assert all(task.name in option.help and task.help in option.help for task in TASKS.values())
    with pytest.raises(openjepa.UsageError, match=", ".join(TASKS)):
        openjepa.evaluate("pixels", "nowhere", tasks=",")


def test_the_page_has_a_row_for_every_task():
    rows = re.findall(r"^\| ((?:`[a-z-]+`(?:, )?)+) \|", PAGE.read_text(), re.MULTILINE)
    assert sorted(re.findall(r"`([a-z-]+)`", " ".join(rows))) == sorted(TASKS)
