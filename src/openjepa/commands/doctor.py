"""`openjepa doctor`: what an issue report needs to know, and whether the installation works."""

import json as json_format
from typing import Annotated, Any

from typer import Option

from openjepa.console import log, working
from openjepa.errors import CheckFailed
from openjepa.installation.report import aligned, examine


def doctor(
    *,
    json: Annotated[bool, Option("--json", help="Print the same as JSON.")] = False,
) -> dict[str, Any]:
    """Print what an issue report needs to know of this machine, and check that openjepa works here.

    The checks import every package that is installed, take a training step on random pixels on each kind of device,
    decode an image, and write and remove a file in the cache and among temporary files. Each line that is not "ok"
    says what to do. The exit code is 1 if a check failed, else 0. Nothing is sent anywhere; the home folder is printed
    as ~, the user's name in other paths as USER, and passwords and tokens are left out.

    Returns a dict with facts, devices, environment, extras, checks and ok, as --json prints it. Raises CheckFailed.
    """
    with working("checking"):
        report = examine((lambda _: None) if json else (lambda facts: log(*aligned(facts))))
    found = report.as_dict()
    log(*(json_format.dumps(found, indent=2).splitlines() if json else report.lines()))
    if report.failed:
        raise CheckFailed("; ".join(f"{check.name} failed: {check.advice}" for check in report.failed))
    if not json:
        log("all checks passed" if all(check.status == "ok" for check in report.checks) else "no check failed")
    return found
