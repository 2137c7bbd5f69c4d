"""All that `openjepa doctor` finds out, and its lines."""

import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from openjepa.installation.asking import Answer, Questions
from openjepa.installation.checks import FAILED, Check, Extra, all_checks, extras, package_questions, working_questions
from openjepa.installation.machine import GIB, facts
from openjepa.installation.variables import variables

# Modules that import PyTorch: one process for them and the training step, so that it is imported once.
OF_TORCH = ("torch", "torchvision", "timm")


@dataclass(frozen=True)
class Report:
    """Facts by name, devices, environment variables, extras and checks."""

    facts: dict[str, str]
    devices: list[dict[str, Any]]
    environment: dict[str, str]
    extras: list[Extra]
    checks: list[Check]

    @property
    def failed(self) -> list[Check]:
        return [check for check in self.checks if check.status == FAILED]

    def as_dict(self) -> dict[str, Any]:
        """The report of dicts, lists and texts."""
        lists: dict[str, Any] = {
            "extras": [each._asdict() for each in self.extras],
            "checks": [each._asdict() for each in self.checks],
        }
        return asdict(self) | lists | {"ok": not self.failed}

    def lines(self) -> Iterator[str]:
        """What was found out about devices and packages, and the checks, as lines that can be pasted."""
        for device in self.devices:
            about = [device.get("model", ""), f"{device['memory'] / GIB:.1f} GiB", f"precision {device['precision']}"]
            yield from aligned({f"device {device['name']}": ", ".join(filter(None, about))})
        yield "extras"
        for extra in self.extras:
            state = extra.found if extra.status == "installed" else f"{extra.status}: {extra.found}"
            yield from aligned({f"  {extra.name}": f"{state} ({extra.help})"})
        yield "checks"
        for check in self.checks:
            advice = f": {check.advice}" if check.advice else ""
            yield f"  {check.status:<8} {check.name}: {check.found}{advice}"


def examine(show: Callable[[dict[str, str]], None] = lambda _: None) -> Report:
    """Collect the report; takes some seconds.

    `show` is called with facts as they are known: those without libraries at once, then those of PyTorch.
    """
    imports = package_questions()
    with_torch = [question for question in imports if question.partition(" ")[2] in OF_TORCH]
    without = [question for question in imports if question not in with_torch]
    with Questions([*working_questions(), *with_torch]) as working, Questions(without) as packages:
        known, environment = facts(), variables(os.environ)
        show(known | environment)
        answers = working.answers()
        of_pytorch = _of_pytorch(answers["pytorch"])
        show(of_pytorch)
        answers |= packages.answers()
    found = extras(answers), list(all_checks(answers))
    return Report(known | of_pytorch, answers["devices"].value or [], environment, *found)


def _of_pytorch(answer: Answer) -> dict[str, str]:
    """What PyTorch says of itself and the machine; nothing where it cannot be imported."""
    if not answer.value:
        return {}
    found = answer.value
    return {
        "PyTorch build": f"{found['version']}, CUDA {found['cuda'] or 'none'}",
        "usable": f"{found['instructions']}, {found['cores']} cores, {found['threads']} threads, "
        f"{found['memory'] / GIB:.1f} GiB of memory",
    }


def aligned(rows: dict[str, str]) -> Iterator[str]:
    """Rows of a name and a text."""
    yield from (f"{name:<15} {text}" for name, text in rows.items())
