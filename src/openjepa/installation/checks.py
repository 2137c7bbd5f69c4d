"""Checks of the installation: what works, what does not, and what to do about it."""

import os
import resource
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from openjepa.errors import UsageError, unknown
from openjepa.files import cache_folder
from openjepa.installation.asking import Answer
from openjepa.installation.machine import GIB, free_space, nvidia_driver
from openjepa.installation.packages import EXTRAS, REQUIRED, Packages, modules_of, name_of, state_of
from openjepa.installation.variables import KNOWN, unknown_variables, without_names
from openjepa.safety.limits import LIMITS

OK, WARNING, FAILED = "ok", "warning", "failed"
FEW_FILES = 256  # that a process may open
LITTLE = {"cache": GIB, "temporary": GIB, "shared memory": GIB // 4}  # free bytes
REINSTALL = "install PyTorch again, as its installation page says for this system"


class Check(NamedTuple):
    """What was checked, how it ended ("ok", "warning", "failed"), what was found, and what to do where it is not ok."""

    name: str
    status: str
    found: str
    advice: str = ""


class Extra(NamedTuple):
    """An extra: "installed", "missing", "old" or "damaged", its versions or what is wrong, and what it is for."""

    name: str
    status: str
    found: str
    help: str


def package_questions() -> list[str]:
    """The imports to try, each once."""
    return list(dict.fromkeys(f"import {module}" for each in (REQUIRED, *EXTRAS) for module in modules_of(each)))


def working_questions() -> list[str]:
    return ["decode JPEG", "decode PNG", "pytorch", "devices", "train cpu", "train cuda", "train mps"]


def extras(answers: Mapping[str, Answer]) -> list[Extra]:
    return [_extra(packages, answers) for packages in EXTRAS]


def _extra(packages: Packages, answers: Mapping[str, Answer]) -> Extra:
    installed, missing, old = state_of(packages)
    versions = ", ".join(f"{name} {number}" for name, number in installed.items())
    damage = _damage(packages, answers)
    status = "missing" if missing else "damaged" if damage else "old" if old else "installed"
    found = {
        "missing": f"without {', '.join(missing)}",
        "damaged": damage,
        "old": f"{versions}; needs {', '.join(old)}",
    }
    return Extra(packages.name, status, found.get(status, versions), packages.help)


def _damage(packages: Packages, answers: Mapping[str, Answer]) -> str:
    """Why packages that are installed cannot be imported."""
    problems = {module: answers.get(f"import {module}", Answer()).problem for module in modules_of(packages)}
    return without_names("; ".join(f"import {module}: {problem}" for module, problem in problems.items() if problem))


def all_checks(answers: Mapping[str, Answer]) -> Iterator[Check]:
    """The checks in order; `answers` are those to both lists of questions."""
    yield _required(answers)
    yield from _extra_checks(answers)
    yield from (_decoding(kind, answers[f"decode {kind}"]) for kind in ("JPEG", "PNG"))
    yield from _training(answers)
    yield from _gpu(answers["devices"])
    yield _writing("cache", cache_folder, "set OPENJEPA_CACHE to a folder that can be written to")
    yield _writing("temporary files", _temporary_folder, "set TMPDIR to a folder that can be written to")
    yield from _space()
    yield _open_files()
    yield _variables()


def _required(answers: Mapping[str, Answer]) -> Check:
    installed, missing, old = state_of(REQUIRED)
    damaged = [need for need, module in REQUIRED.modules.items() if answers.get(f"import {module}", Answer()).problem]
    wrong = [*missing, *old, *(need for need in damaged if need not in missing + old)]
    if not wrong:
        return Check(REQUIRED.name, OK, ", ".join(f"{name} {number}" for name, number in installed.items()))
    problems = [f"without {', '.join(missing)}"] * bool(missing) + [f"needs {', '.join(old)}"] * bool(old)
    found = "; ".join([*problems, *filter(None, [_damage(REQUIRED, answers)])])
    of_torch = any(name_of(need) == "torch" for need in wrong)
    return Check(REQUIRED.name, FAILED, found, REINSTALL if of_torch else _install_again(wrong))


def _extra_checks(answers: Mapping[str, Answer]) -> Iterator[Check]:
    for packages in EXTRAS:
        extra = _extra(packages, answers)
        if extra.status in ("damaged", "old"):
            status = FAILED if extra.status == "damaged" else WARNING
            yield Check(f"extra {extra.name}", status, extra.found, _install_again([*packages.modules]))


def _install_again(requirements: list[str]) -> str:
    return f"pip install --upgrade --force-reinstall {' '.join(map(repr, requirements))}"


def _decoding(kind: str, answer: Answer) -> Check:
    return _from_answer(f"decoding {kind}", answer, answer.value, _install_again(["pillow>=11"]))


def _from_answer(name: str, answer: Answer, found: str, advice: str) -> Check:
    return Check(name, FAILED, without_names(answer.problem), advice) if answer.problem else Check(name, OK, found)


def _training(answers: Mapping[str, Answer]) -> Iterator[Check]:
    for kind in ("cpu", "cuda", "mps"):
        answer = answers[f"train {kind}"]
        if answer.value or (answer.problem and (kind == "cpu" or answers["devices"].value)):
            found = "loss {loss:.3f} in {precision}".format(**answer.value) if answer.value else ""
            advice = REINSTALL if kind == "cpu" else f"{REINSTALL}; until then give --device cpu"
            yield _from_answer(f"training step on {kind}", answer, found, advice)


def _gpu(devices: Answer) -> Iterator[Check]:
    names = [device["name"] for device in devices.value or []]
    if nvidia_driver() and names and not any(name.startswith("cuda") for name in names):
        found = f"there is a driver of NVIDIA (version {nvidia_driver()}), and PyTorch finds no GPU"
        yield Check("GPU", WARNING, found, f"to use it, {REINSTALL} and its CUDA")


def _temporary_folder() -> Path:
    return Path(tempfile.gettempdir())


def _writing(name: str, place: Callable[[], Path], advice: str) -> Check:
    """Whether a file can be written in a folder, which is made where it is missing, and removed."""
    try:
        folder = place()
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".openjepa-doctor-") as file:
            file.write(b"written")
            file.flush()
        return Check(name, OK, f"{without_names(str(folder))} can be written to")
    except UsageError as error:
        return Check(name, FAILED, str(error).partition(":")[0], advice)
    except OSError as error:
        at = f"{error.filename}: " if isinstance(error.filename, str) else ""
        return Check(name, FAILED, without_names(f"{at}{error.strerror or error}"), advice)


def _space() -> Iterator[Check]:
    advice = {
        "cache": "delete what is not needed, or set OPENJEPA_CACHE to a folder on another disk",
        "temporary": "delete what is not needed, or set TMPDIR to a folder on another disk",
        "shared memory": "give --workers 0, or in a container more of it, as docker's --shm-size 2g",
    }
    little = {name: free for name, free in free_space().items() if free < LITTLE[name]}
    for name, free in little.items():
        yield Check(f"space, {name}", WARNING, f"{free / GIB:.2f} GiB are free", advice[name])


def _open_files() -> Check:
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if 0 <= allowed < FEW_FILES:
        return Check("open files", WARNING, f"at most {allowed}", "raise the limit: ulimit -n 4096")
    return Check("open files", OK, "unlimited" if allowed < 0 else f"at most {allowed:,}")


def _variables() -> Check:
    """Whether the variables of openjepa exist, and the limits among them are numbers."""
    for name in unknown_variables(os.environ):
        return Check("variables", WARNING, unknown("variable", name, KNOWN), f"unset {name}")
    try:
        changed = [limit.variable for limit in LIMITS if limit.get() != limit.default]
    except UsageError as error:
        found, _, advice = str(error).partition(": ")
        return Check("variables", FAILED, found, advice)
    return Check("variables", OK, f"{', '.join(changed)} changed" if changed else "all limits as they are by default")
