"""What a study stores: tune.json, the study as planned, and trials.jsonl, a line for each trial that has finished."""

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from openjepa.errors import UsageError
from openjepa.runs.settings import AGAIN, Config, check_version, stored_config, stored_settings
from openjepa.safety.schema import Fraction, Json, Name, PositiveInt, Schema, Text, parse_json, read_json
from openjepa.studies.tune.halving import Plan
from openjepa.studies.tune.space import VARIATIONS, Changes
from openjepa.training.monitoring.metrics_log import current_metrics, read_lines

FILE, TRIALS = "tune.json", "trials.jsonl"
MAX_BYTES = 2**26
Settings = dict[Name, Json]
Images = Annotated[int, Field(ge=0, le=10**12)]
Rung = Annotated[int, Field(ge=1, le=20)]


class StoredPlan(Schema):
    """The fields of a `Plan`."""

    sizes: Annotated[list[PositiveInt], Field(min_length=1, max_length=20)]
    runs: list[PositiveInt]
    images: list[Images]
    seconds: list[float]

    @model_validator(mode="after")
    def _fit(self) -> Self:
        if {len(self.runs), len(self.images), len(self.seconds)} != {len(self.sizes)}:
            raise ValueError("sizes, runs, images and seconds have other lengths")
        return self


class StoredRequest(Schema):
    data: Text
    budget: Name
    labelled: Text | None
    recipe: Name | None
    given: Settings


class Accuracies(Schema):
    linear: Fraction
    knn: Fraction


class StoredBaselines(Schema):
    untrained: Accuracies
    pixels: Accuracies


class StoredStudy(Schema):
    """What tune.json holds: `base` are the settings of the recipe, `tried` the changes of them by name."""

    request: StoredRequest
    base: Settings
    tried: dict[Name, Settings]
    plan: StoredPlan
    baselines: StoredBaselines
    paths: Name
    openjepa_version: Name = "0"


class StoredTrial(Schema):
    """A line of trials.jsonl; of a run that diverged `failed` says why, and there are no measurements."""

    candidate: Name
    rung: Rung
    changes: Settings
    steps: PositiveInt
    images: PositiveInt
    seconds: Annotated[float, Field(ge=0)]
    failed: Text | None = None
    linear: Fraction | None = None
    knn: Fraction | None = None
    monitors: dict[Name, float] | None = None
    untrained: dict[Name, float] | None = None

    @model_validator(mode="after")
    def _fit(self) -> Self:
        measured = (self.linear, self.knn, self.monitors, self.untrained)
        if self.failed is None and None in measured:
            raise ValueError("linear, knn, monitors or untrained is missing")
        if self.monitors is not None and "rank" not in self.monitors:
            raise ValueError("monitors has no rank")
        return self


@dataclass(frozen=True)
class Planned:
    """A study as tune.json has it, its settings of their own types."""

    stored: StoredStudy
    base: Config
    tried: dict[str, Changes]
    given: Changes

    @property
    def plan(self) -> Plan:
        return Plan(**self.stored.plan.model_dump())

    @property
    def baselines(self) -> dict[str, dict[str, float]]:
        return self.stored.baselines.model_dump()


def read_study(path: Path) -> Planned:
    """The study of a tune.json. Raises UsageError if the file is damaged, or a newer version wrote it."""
    stored = read_json(path, StoredStudy, AGAIN, MAX_BYTES)
    check_version(path, stored.openjepa_version)
    base = stored_config(stored.base, path, AGAIN)
    tried = {name: changes_of(changes, base, path) for name, changes in stored.tried.items()}
    return Planned(stored, base, tried, stored_settings(stored.request.given, path))


def changes_of(values: Mapping[str, Any], base: Config, path: Path) -> Changes:
    """The changes of a candidate from JSON; raises UsageError where `base` cannot have them."""
    changes = stored_settings(values, path)
    for name in changes.keys() - {*VARIATIONS, "seed"}:
        raise UsageError(f"{path} is damaged: {name} is no setting that tune changes: {AGAIN}")
    try:
        dataclasses.replace(base, **changes)
    except UsageError as error:
        raise UsageError(f"{path} is damaged: {error}: {AGAIN}") from error
    return changes


def trial_folder(rung: int, candidate: str) -> str:
    """The name of the folder of a trial."""
    return f"{rung}-{re.sub(r'[^A-Za-z0-9_.]+', '-', candidate)}"


def read_trials(folder: Path) -> list[dict[str, Any]]:
    """Finished trials; a line that a crash cut short is left out, and its trial runs again.

    Raises UsageError for a line that is JSON and not a trial.
    """
    path = folder / TRIALS
    lines = read_lines(path)
    return [_trial(line, f"{path}, line {number}") for number, line in enumerate(lines, 1) if _is_json(line)]


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _trial(line: str, where: str) -> dict[str, Any]:
    trial = parse_json(line, StoredTrial, where, AGAIN)
    record = trial.model_dump(exclude_none=True)
    measured = {name: current_metrics(record[name]) for name in ("monitors", "untrained") if name in record}
    changes = stored_settings(trial.changes, Path(where))
    return record | measured | {"changes": changes, "folder": trial_folder(trial.rung, trial.candidate)}
