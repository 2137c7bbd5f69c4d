"""All that `openjepa doctor` finds out, and its lines."""

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from openjepa.installation.asking import Answer, Questions
from openjepa.installation.checks import FAILED, Check, Extra, all_checks, extras, package_questions, working_questions
from openjepa.installation.machine import GIB, facts
from openjepa.installation.variables import variables


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
        """The report for people, of lines that can be pasted."""
        yield from _aligned(self.facts)
        for device in self.devices:
            about = [device.get("model", ""), f"{device['memory'] / GIB:.1f} GiB", f"precision {device['precision']}"]
            yield from _aligned({f"device {device['name']}": ", ".join(filter(None, about))})
        yield from _aligned(self.environment)
        yield "extras"
        for extra in self.extras:
            state = extra.found if extra.status == "installed" else f"{extra.status}: {extra.found}"
            yield from _aligned({f"  {extra.name}": f"{state} ({extra.help})"})
        yield "checks"
        for check in self.checks:
            advice = f": {check.advice}" if check.advice else ""
            yield f"  {check.status:<8} {check.name}: {check.found}{advice}"


def examine() -> Report:
    """Find out all about this machine and this installation; takes some seconds."""
    with Questions(package_questions()) as packages, Questions(working_questions()) as working:
        known = facts()
        answers = working.answers() | packages.answers()
    return Report(
        known | _of_pytorch(answers["pytorch"]),
        answers["devices"].value or [],
        variables(os.environ),
        extras(answers),
        list(all_checks(answers)),
    )


def _of_pytorch(answer: Answer) -> dict[str, str]:
    """What PyTorch says of itself and the machine; nothing where it cannot be imported."""
    if not answer.value:
        return {}
    found = answer.value
    return {
        "PyTorch": str(found["version"]),
        "PyTorch uses": f"{found['instructions']}, {found['threads']} threads, CUDA {found['cuda'] or 'none'}",
        "usable": f"{found['cores']} cores, {found['memory'] / GIB:.1f} GiB of memory",
    }


def _aligned(rows: dict[str, str]) -> Iterator[str]:
    yield from (f"{name:<15} {text}" for name, text in rows.items())
