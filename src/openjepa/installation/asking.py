"""Questions answered in child processes, so that a library that crashes or hangs ends only its child."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

SECONDS = 300  # for all questions of a child
START = (
    "import sys; sys.path[:] = {path!r}; from openjepa.installation.probes import answer_all; answer_all({questions!r})"
)
QUIET = {"PYTHONWARNINGS": "ignore", "TOKENIZERS_PARALLELISM": "false"}


class Answer(NamedTuple):
    """What was found, or in one line why it could not be."""

    value: Any = None
    problem: str = ""


class Questions:
    """Questions that a child process answers in order; where one ends it, another child answers those after it.

    The first child starts at once, `answers` waits for it. As a context, it leaves no child behind.
    """

    def __init__(self, questions: Sequence[str]) -> None:
        self.left = list(questions)
        self.process = self._start()

    def __enter__(self) -> "Questions":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def answers(self) -> dict[str, Answer]:
        """All answers by their questions."""
        found, death = self._read()
        while self.left:
            found[self.left.pop(0)] = Answer(problem=death)
            if self.left:
                self.process = self._start()
                more, death = self._read()
                found |= more
        return found

    def _start(self) -> subprocess.Popen:
        start = [sys.executable, "-c", START.format(path=sys.path, questions=self.left)]
        return subprocess.Popen(start, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | QUIET)

    def _read(self) -> tuple[dict[str, Answer], str]:
        """The answers of the child as far as it got, and how it ended."""
        try:
            out, err = self.process.communicate(timeout=SECONDS)
            death = _death(self.process.returncode, err.decode(errors="replace"))
        except subprocess.TimeoutExpired:
            self.process.kill()
            out, _ = self.process.communicate()
            death = f"takes longer than {SECONDS} seconds"
        lines = [json.loads(line) for line in out.splitlines() if line.endswith(b"}")]
        self.left = self.left[len(lines) :]
        return {line["question"]: Answer(line.get("value"), line.get("problem", "")) for line in lines}, death


def _death(code: int, err: str) -> str:
    if code < 0:
        return f"crashes ({signal.Signals(-code).name})"
    said = [line for line in err.splitlines() if line.strip()]
    return f"ends with exit code {code}" + (f" ({said[-1].strip()})" if said else "")
