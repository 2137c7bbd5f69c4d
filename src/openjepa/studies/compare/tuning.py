"""Before the runs of a contender: its learning rate and one setting of its own, chosen by short trials.

The trials are measured on a part of the images that probes learn from, so that the test images choose nothing.
"""

import dataclasses
import math
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from openjepa.console import counting, log
from openjepa.errors import UsageError
from openjepa.evaluation.splits import holdout_split
from openjepa.files import write_json
from openjepa.runs.command_line import option_words
from openjepa.runs.settings import AGAIN, Config, stored_settings
from openjepa.safety.schema import Fraction, Json, Name, PositiveInt, Schema, read_json
from openjepa.studies.trial import TESTED, TrialData, run_trial
from openjepa.studies.tune.space import VARIATIONS, Changes, is_change

LEAST, MOST = 3, 9
SHORTER = 8  # times as short as a run is a trial
FACTORS = (1.0, 3.0, 1 / 3, 10.0, 0.1, 30.0, 1 / 30)  # of the learning rate, in the order in which they are tried
OWN = ("ema_momentum", "crop_scale")  # the first of these that a method has; neither changes what a step costs
MAX_BYTES = 2**20


class StoredTrial(Schema):
    """Changes of the recipe, and the accuracy of the linear probe on the validation part; None for a failed run."""

    changes: dict[Name, Json]
    linear: Fraction | None

    @classmethod
    def of(cls, changes: Changes, linear: float | None) -> "StoredTrial":
        """A trial of changes as settings have them, of which JSON has ranges as lists."""
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in changes.items()}
        return cls(changes=plain, linear=linear)


class Tuning(Schema):
    """The trials of a contender, each of so many steps."""

    steps: PositiveInt
    trials: Annotated[list[StoredTrial], Field(max_length=MOST)]

    @property
    def chosen(self) -> dict[str, Json]:
        """The changes of the best trial, of equals the earlier; none if all failed."""
        worked = [trial for trial in self.trials if trial.linear is not None]
        return max(worked, key=lambda trial: trial.linear or 0.0).changes if worked else {}


def parse_tune(count: int) -> int:
    """The number of trials of each method; 0 for none. Raises UsageError."""
    if count and not LEAST <= count <= MOST:
        raise UsageError(f"--tune {count} is not possible: give the trials of each method, from {LEAST} to {MOST}")
    return count


def validation_data(data: TrialData) -> TrialData:
    """The same images to train on, measured on a third of those that probes otherwise learn from."""
    learnt = data.labelled[0]
    label = next(iter(learnt.labels))
    classes, counts = np.unique(learnt.labels[label], return_counts=True)
    sample = learnt.subset(np.flatnonzero(np.isin(learnt.labels[label], classes[counts > 1])))
    parts = holdout_split(sample.labels[label], TESTED, data.seed, sample.classes[label])
    return dataclasses.replace(data, labelled=(sample.subset(parts[0]), sample.subset(parts[1])))


def next_changes(base: Config, done: Tuning, count: int) -> Changes | None:
    """The changes of the next of `count` trials: learning rates first, then a setting of its own with the best rate."""
    number = len(done.trials)
    values = list(own_values(base))
    rates = max(count - len(values), math.ceil(count / 2))
    if number >= count or number >= rates + len(values):
        return None
    if number < rates:
        return {"lr": float(f"{base.lr * FACTORS[number]:.4g}")} if number else {}
    best = {name: value for name, value in done.chosen.items() if name == "lr"}
    name, value = values[number - rates]
    return best | {name: value}


def own_values(base: Config) -> Iterator[tuple[str, Any]]:
    """The other values of the setting of its own."""
    for name in OWN:
        found = [value for value in VARIATIONS[name](base) if is_change(base, {name: value})]
        if found:
            yield from ((name, value) for value in found)
            return


def tune(path: Path, name: str, data: TrialData, base: Config, steps: int, count: int) -> Tuning:
    """Run those trials of a contender that have not been; `path` is where they are stored. Raises OSError."""
    length = max(1, steps // SHORTER)
    done = read_tuning(path, base) if path.is_file() else Tuning(steps=length, trials=[])
    where = path.with_suffix("")
    while (changes := next_changes(base, done, count)) is not None:
        config = dataclasses.replace(base, steps=length, **changes)
        with counting(f"{name}, trial {len(done.trials) + 1} of {count}") as progress:
            record = run_trial(where, data, config, length, progress)
        shutil.rmtree(where)
        trial = StoredTrial.of(changes, record.get("linear"))
        done = Tuning(steps=length, trials=[*done.trials, trial])
        write_json(path, done.model_dump())
        log(f"  {name}, trial {len(done.trials)} of {count}: {in_words(trial)}")
    return done


def read_tuning(path: Path, base: Config) -> Tuning:
    """The trials that are stored. Raises UsageError where they are damaged."""
    found = read_json(path, Tuning, AGAIN, MAX_BYTES)
    for trial in found.trials:
        changed(base, trial.changes, path)
    return found


def changed(base: Config, changes: Mapping[str, Json], path: Path) -> Config:
    """A config with the changes of a trial, as they are stored."""
    if unknown := changes.keys() - {"lr", *OWN}:
        raise UsageError(f"{path} is damaged: {min(unknown)} is no setting that is tuned: {AGAIN}")
    try:
        return dataclasses.replace(base, **stored_settings(changes, path))
    except UsageError as error:
        raise UsageError(f"{path} is damaged: {error}: {AGAIN}") from error


def in_words(trial: StoredTrial) -> str:
    """ "--lr 0.003: 51.2 %" """
    return f"{changes_in_words(trial.changes)}: {'diverged' if trial.linear is None else f'{100 * trial.linear:.1f} %'}"


def changes_in_words(changes: Mapping[str, Json]) -> str:
    """ "--lr 0.003 --crop-scale 0.3 1.0", or that of the recipe."""
    return " ".join(option_words(changes)) or "recipe"
