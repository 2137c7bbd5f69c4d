"""An ensemble beside its members in an evaluation: what it gains, and what it costs."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field

from openjepa.encoder.cropped import Cropped, check_crops
from openjepa.encoder.encoder import Encoder
from openjepa.encoder.features import Model
from openjepa.evaluation.judgement import LOWER_IS_BETTER, Record, in_words, is_baseline, is_merit, judge, metric_of
from openjepa.evaluation.results import is_fraction
from openjepa.interop.artifact import FACTS
from openjepa.interop.ensembles.open import load_ensemble
from openjepa.interop.ensembles.stored import AGAIN, MOST_MEMBERS, is_ensemble, stored_members
from openjepa.interop.open_model import is_folder
from openjepa.safety.schema import Name, Schema, read_json

TIMED, REPEATS = 64, 3  # images at a time, and how often they are timed


class StoredSoup(Schema):
    members: Annotated[tuple[Name, ...], Field(max_length=MOST_MEMBERS)] = ()


class SoupFacts(Schema):
    """What of openjepa.json says whose mean a soup is."""

    soup: StoredSoup = StoredSoup()


def ensemble_encoders(name: str, device: torch.device, precision: torch.dtype) -> list[Encoder]:
    """The members of an ensemble, and itself. Raises UsageError."""
    ensemble, members = load_ensemble(Path(name), device, precision)
    for member in members:
        member.name = f"{name}: {member.name}"
    ensemble.name = name
    return [*members, ensemble]


def with_crops(models: Sequence[Model], crops: int | None) -> list[Model]:
    """The models, each encoder that is no baseline followed by itself with `crops`, if any. Raises UsageError."""
    if crops is None:
        return [*models]
    check_crops(crops)
    chosen = [m for m in models if isinstance(m, Encoder) and not is_baseline(m.name)]
    return [each for m in models for each in (m, *([Cropped(m, crops)] if m in chosen else []))]


def gain_lines(records: Sequence[Record], models: Sequence[Model]) -> list[str]:
    """Two lines on each ensemble, soup or encoder with crops whose members were measured: its gain, and its cost."""
    encoders = {model.name: model for model in models if isinstance(model, Encoder)}
    lines = []
    for name, model in encoders.items():
        members = [member for member in members_of(model) if member in encoders]
        gains = [gain for task in tasks_of(records, name) if (gain := _gain(records, task, name, members))]
        if gains:
            best = "the best of its members" if len(members) > 1 else members[0]
            lines.append(f"{name} against {best}: {'; '.join(gains)}")
            lines.append(f"  {_cost(model, [encoders[member] for member in members])}")
    return lines


def members_of(model: Encoder) -> list[str]:
    """The names under which the members of an ensemble, a soup or an encoder with crops are measured."""
    if isinstance(model, Cropped):
        return [model.whole.name]
    path = Path(model.name)
    if not is_folder(model.name) or not (path / FACTS).is_file():
        return []
    if is_ensemble(path):
        return [f"{model.name}: {member}" for member in stored_members(path)]
    members = read_json(path / FACTS, SoupFacts, AGAIN).soup.members
    return [*members] if len(members) > 1 else []


def tasks_of(records: Sequence[Record], name: str) -> list[str]:
    return [record["task"] for record in records if record["model"] == name and is_merit(record)]


def _gain(records: Sequence[Record], task: str, name: str, members: Sequence[str]) -> str:
    """The difference of an ensemble to its best member, with its 95 % interval; "" where none was measured."""
    of_task = {record["model"]: record for record in records if record["task"] == task}
    mine, theirs = of_task[name], [of_task[member] for member in members if member in of_task]
    if not theirs:
        return ""
    less = metric_of(mine) in LOWER_IS_BETTER
    best = min(theirs, key=lambda record: record["value"] if less else -record["value"])
    paired = mine["protocol"]["paired_difference_to"].get(best["model"])
    if not paired:
        return ""
    unit = " points" if is_fraction(mine) else ""
    value, low, high = (f"{number * 100:+.1f}" if unit else f"{number:+.3g}" for number in paired)
    return f"{in_words(mine)} {value}{unit} ({low} to {high}), {judge(mine, best)}"


def _cost(ensemble: Encoder, members: Sequence[Encoder]) -> str:
    """Parameters and time an image, beside those of the largest member."""
    sizes = [parameters(model) for model in (ensemble, *members)]
    times = [seconds_an_image(model) for model in (ensemble, *members)]
    return (
        f"it costs {sizes[0] / max(sizes[1:]):.1f} times the parameters of one ({sizes[0] / 1e6:.1f} M) and "
        f"{times[0] / max(times[1:]):.1f} times the time ({times[0] * 1e3:.2f} ms an image on {ensemble.device})"
    )


def parameters(model: Encoder) -> int:
    return sum(value.numel() for value in model.network.parameters())


def seconds_an_image(model: Encoder) -> float:
    """The least of a few timings of a batch, divided by its images."""
    images = torch.zeros(TIMED, model.network.in_chans, *model.frame.size, dtype=torch.uint8)
    taken = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        model.features(images)  # on the CPU once it returns
        taken.append(time.perf_counter() - begun)
    return min(taken) / TIMED
