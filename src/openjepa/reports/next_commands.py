"""What to do with a run next, as commands: the report and the end of `pretrain` give the same ones."""

import shlex
from collections.abc import Sequence
from typing import NamedTuple

from openjepa.data.sources import scenes
from openjepa.runs.command_line import resume_command
from openjepa.runs.folder import RunFolder
from openjepa.runs.planning.plan import schedule_of
from openjepa.training.monitoring.advice import more_steps
from openjepa.training.monitoring.verdict import ADVISE_LONGER

MEASURE = "measure the encoder"
IMAGE = "IMAGE"  # stands for the name of an image where none is known


class Next(NamedTuple):
    """A command, or a call of Python, and what it does, as a clause that begins with a verb."""

    purpose: str
    command: str


def is_measurable(run: RunFolder) -> bool:
    """Whether the images have labels to measure by: one of which two classes have several images."""
    return any(sum(images > 1 for images in counts.values()) > 1 for counts in run.images.classes.values())


def next_commands(run: RunFolder, image: str | None = None) -> list[Next]:
    """How to measure a run that has labels and no results yet; else what can be done with the encoder without labels.

    None where there is no encoder. `image` is one of the images, by its path.
    """
    if run.encoder is None:
        return []
    from_python = run.from_python or run.own_class
    if is_measurable(run) and not run.results:
        return [Next(MEASURE, _evaluate_call(run) if from_python else _evaluate_command(run))]
    return _longer(run) + (_calls(run, image or IMAGE) if from_python else _commands(run, image or IMAGE))


def _longer(run: RunFolder) -> list[Next]:
    """How to train longer, where the verdict at the end advises that."""
    status = next((record["status"] for record in reversed(run.records) if "status" in record), None)
    has_target = any("ema_distance" in record for record in run.records)
    momentum = schedule_of(run.config, run.steps).ema_momentum if has_target else None
    known = {"steps": run.steps, "passes": run.epochs, "ema_momentum": momentum, "init": run.config.init}
    steps = more_steps(known) if run.finished and run.step is None and status in ADVISE_LONGER else None
    data = None if run.from_python else run.data
    return [Next("train longer", resume_command(data, run.path, run.config, run.probe, steps))] if steps else []


def next_lines(commands: Sequence[Next]) -> list[str]:
    """The commands as lines for the terminal."""
    return ["next:"] * bool(commands) + [f"  to {purpose}: {command}" for purpose, command in commands]


def report_command(run: RunFolder, show: str | None = None) -> str:
    """The command that writes the report with its pictures, and with the neighbours of an image to `show`."""
    path = str(run.path)
    if run.from_python or run.own_class:
        return f"openjepa.report({path!r}, data=images{_keywords(run)}{f', show=[{show!r}]' if show else ''})"
    data = [] if scenes.takes(run.data) else ["--data", run.data]
    return shlex.join(["openjepa", "report", path, *data, *_step(run), *(["--show", show] if show else [])])


def _commands(run: RunFolder, image: str) -> list[Next]:
    model, index = [str(run.path), run.data, *_step(run)], _beside(run, ".index")
    commands = [
        ("make an index of the images", "index", *model, "--out", index),
        ("find the images most similar to one", "search", index, image),
        ("list the oddest images", "curate", "outliers", index),
        ("write a vector for each image", "embed", *model, "--out", _beside(run, ".parquet")),
    ]
    return [Next(purpose, shlex.join(["openjepa", *words])) for purpose, *words in commands]


def _calls(run: RunFolder, image: str) -> list[Next]:
    """The same in Python. An index takes no network of a program."""
    model, index = f"{str(run.path)!r}, images{_keywords(run)}", _beside(run, ".index")
    calls = [
        Next("make an index of the images", f"openjepa.index({model}, out={index!r})"),
        Next("find the images most similar to one", f"openjepa.search({index!r}, [{image!r}])"),
        Next("list the oddest images", f"openjepa.curate_outliers({index!r})"),
    ]
    embed = f"openjepa.embed({model}, out={_beside(run, '.parquet')!r})"
    return [*([] if run.own_class else calls), Next("write a vector for each image", embed)]


def _evaluate_command(run: RunFolder) -> str:
    return f"{shlex.join(['openjepa', 'evaluate', str(run.path), run.data, *_step(run)])} && {report_command(run)}"


def _evaluate_call(run: RunFolder) -> str:
    return f"openjepa.evaluate([{str(run.path)!r}], images{_keywords(run)}); {report_command(run)}"


def _step(run: RunFolder) -> list[str]:
    return [] if run.step is None else ["--step", str(run.step)]


def _keywords(run: RunFolder) -> str:
    """What calls of functions on a run also need: the step that is shown, a network of its class."""
    step = "" if run.step is None else f", step={run.step}"
    return step + (f", network={run.own_class}(...)" if run.own_class else "")


def _beside(run: RunFolder, suffix: str) -> str:
    """A name beside the run folder, for what is made from the run, or from the step that is shown."""
    path = run.path if run.path.name not in ("", "..") else run.path.resolve()
    step = run.steps if run.step is None and run.segments else run.step  # other than that of the run before it went on
    return f"{path}{'' if step is None else f'-step-{step}'}{suffix}"
