"""The study of `tune`: rung after rung of trials, each of which is stored when it has finished."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import stdev

from openjepa.console import counting, duration, log
from openjepa.errors import UsageError
from openjepa.files import write_text
from openjepa.runs.settings import Config
from openjepa.studies.trial import TrialData, run_trial
from openjepa.studies.tune.halving import Plan, best
from openjepa.studies.tune.space import COMBINED, RECIPE, REPEATS, Changes, combination
from openjepa.studies.tune.stored import AGAIN, TRIALS, changes_of, read_trials, trial_folder


@dataclass
class Study:
    """A study.

    folder      where it is stored
    data        what all trials share
    base        the recipe with the settings that the user gave
    candidates  changes of it by name, without the recipe itself
    plan        the number and length of trials in each rung
    baselines   accuracies of "pixels" and of the recipe's "untrained" encoder
    records     of finished trials
    """

    folder: Path
    data: TrialData
    base: Config
    candidates: dict[str, Changes]
    plan: Plan
    baselines: dict[str, dict[str, float]]
    records: list[dict] = field(default_factory=list)

    @property
    def test_images(self) -> int:
        """The number of images that accuracies are measured on."""
        return len(self.data.labelled[1])

    def run(self) -> None:
        """Run all trials that have not finished. Raises UsageError if the disk is full."""
        try:
            self._load_trials()
            self._rungs()
        except OSError as error:
            again = "make room, then continue with --resume"
            raise UsageError(f"cannot write {self.folder}: {error}; {again}") from error

    def _load_trials(self) -> None:
        self.records = read_trials(self.folder)
        known: dict[str, Changes] = {RECIPE: {}} | repeats(self.base) | self.candidates
        for record in self.records:
            name, changes = record["candidate"], changes_of(record["changes"], self.base, self.folder / TRIALS)
            is_known = name == COMBINED or known.get(name) == changes
            if not (is_known and record["rung"] <= len(self.plan.sizes)):
                raise UsageError(f"{self.folder / TRIALS} is damaged: {name} is no trial of this study: {AGAIN}")
        # Written again without a line that was cut short.
        write_text(self.folder / TRIALS, "".join(json.dumps(record) + "\n" for record in self.records))

    def _rungs(self) -> None:
        entrants: dict[str, Changes] = {RECIPE: {}} | repeats(self.base) | self.candidates
        for rung in range(1, len(self.plan.sizes) + 1):
            for name, changes in entrants.items():
                self._run_trial(rung, name, changes)
            if rung < len(self.plan.sizes):
                entrants = self._next(rung)

    def _next(self, rung: int) -> dict[str, Changes]:
        """The trials after a rung: the recipe, the best third, and after the first rung the best settings together."""
        changes = {record["candidate"]: record["changes"] for record in self.rung(rung)}
        going = best(self.values(rung), self.plan.sizes[rung])
        entrants = {RECIPE: {}} | {name: changes[name] for name in going}
        if rung == 1:
            values = self.values(1)
            own = values.pop(RECIPE) or 0.0
            gains = {name: value - own for name, value in values.items() if value is not None}
            together = combination(self.base, self.candidates, gains, self.noise)
            entrants |= {COMBINED: together} if together else {}
        return entrants

    def _run_trial(self, rung: int, name: str, changes: Changes) -> None:
        if any((record["rung"], record["candidate"]) == (rung, name) for record in self.records):
            return
        steps = max(1, self.plan.images[rung - 1] // changes.get("batch_size", self.base.batch_size))
        config = dataclasses.replace(self.base, steps=steps, **changes)
        folder = self.folder / "trials" / trial_folder(rung, name)
        with counting(f"rung {rung}, {name}") as progress:
            record = {"candidate": name, "rung": rung, "changes": changes, "folder": folder.name}
            record |= run_trial(folder, self.data, config, steps, progress)
        self.records.append(json.loads(json.dumps(record)) | {"changes": changes})
        with (self.folder / TRIALS).open("a") as file:
            file.write(json.dumps(record) + "\n")
        log(f"  rung {rung}, {name}: {outcome(record)} ({len(self.records)} of at most {sum(self.plan.runs)} runs)")

    def rung(self, rung: int) -> list[dict]:
        """Records of a rung, without the repeats."""
        return [r for r in self.records if r["rung"] == rung and "seed" not in r["changes"]]

    def values(self, rung: int) -> dict[str, float | None]:
        """Linear accuracies of the trials of a rung, by which they are chosen; None for a run that failed."""
        return {record["candidate"]: record.get("linear") for record in self.rung(rung)}

    @property
    def alike(self) -> list[float]:
        """The accuracies of the recipe's seeds in the first rung."""
        seeds = [r for r in self.records if r["rung"] == 1 and not r["changes"].keys() - {"seed"}]
        return [record["linear"] for record in seeds if "linear" in record]

    @property
    def noise(self) -> float:
        """How far two runs of one setting differ: the standard deviation over the recipe's seeds in the first rung.

        It is at least the standard error of an accuracy on that many images.
        """
        same = self.alike
        spread = stdev(same) if len(same) > 1 else 0.0
        return max(spread, (same[0] * (1 - same[0]) / self.test_images) ** 0.5 if same else 0.0)

    @property
    def winner(self) -> dict:
        """The record of the best run of the last rung; raises UsageError if all have failed."""
        last = len(self.plan.sizes)
        first = best(self.values(last), 1)
        if not first:
            raise UsageError("every run of the last rung diverged: give a lower --lr")
        return next(record for record in self.rung(last) if record["candidate"] == first[0])


def repeats(base: Config) -> dict[str, Changes]:
    return {f"{RECIPE}, seed {seed}": {"seed": seed} for seed in range(base.seed + 1, base.seed + 1 + REPEATS)}


def outcome(record: Mapping) -> str:
    """A trial in a few words."""
    if "failed" in record:
        return "diverged"
    return f"linear {record['linear']:.1%}, k-NN {record['knn']:.1%}, {duration(record['seconds'])}"
