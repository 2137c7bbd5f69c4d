"""A comparison: every contender with every seed, and models beside them, each stored when it is measured."""

import dataclasses
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from openjepa.console import counting, duration, log
from openjepa.encoder.encoder import Encoder
from openjepa.encoder.features import Model
from openjepa.errors import UsageError
from openjepa.evaluation import run_tasks
from openjepa.evaluation.results import Result
from openjepa.files import write_text
from openjepa.runs.settings import AGAIN, Config
from openjepa.studies.compare.contenders import with_seed
from openjepa.studies.compare.stored import (
    TRIALS,
    StoredPlan,
    StoredTrial,
    as_json,
    check_measured,
    folder_name,
    read_answers,
    read_trials,
    write_answers,
)
from openjepa.studies.trial import TrialData, run_trial

TASKS = ("linear", "knn", "fewshot")


@dataclass
class Comparison:
    """A comparison.

    folder      where it is stored
    data        what all runs share
    configs     of the contenders, by name, with the first seed
    plans       their length and cost
    beside      models that are only measured: pixels, an untrained encoder, those of --beside
    seeds       of the runs
    trials      that have finished
    """

    folder: Path
    data: TrialData
    configs: Mapping[str, Config]
    plans: Mapping[str, StoredPlan]
    beside: Mapping[str, Model]
    seeds: range
    trials: list[StoredTrial] = field(default_factory=list)

    def run(self) -> None:
        """Measure and train what has not been yet. Raises UsageError if the disk is full."""
        try:
            self._load()
            for name, model in self.beside.items():
                if not self._has(name, None):
                    self._measure(name, model)
            for name, seed in self.planned():
                if not self._has(name, seed):
                    self._train(name, seed)
        except OSError as error:
            again = "make room, then continue with --resume"
            raise UsageError(f"cannot write {self.folder}: {error}; {again}") from error

    def planned(self) -> Iterator[tuple[str, int]]:
        """The runs by contender and seed; one seed of all before the next."""
        return ((name, seed) for seed in self.seeds for name in self.configs)

    def results(self, trial: StoredTrial) -> dict[str, Result]:
        return read_answers(self.folder / "trials" / trial.folder, trial)

    def of(self, name: str) -> list[StoredTrial]:
        """The trials of a contender or model, by seed, without those that failed."""
        return [trial for trial in self.trials if trial.name == name and not trial.failed]

    def _load(self) -> None:
        self.trials = read_trials(self.folder)
        known = {*self.planned(), *((name, None) for name in self.beside)}
        for trial in self.trials:
            if (trial.name, trial.seed) not in known:
                raise UsageError(f"{self.folder / TRIALS} is damaged: {trial.name} is no trial of this study: {AGAIN}")
        check_measured(self.folder, self.trials)
        # Written again without a line that was cut short.
        write_text(self.folder / TRIALS, "".join(as_json(trial) + "\n" for trial in self.trials))

    def _has(self, name: str, seed: int | None) -> bool:
        return any((trial.name, trial.seed) == (name, seed) for trial in self.trials)

    def _measure(self, name: str, model: Model) -> None:
        begun, folder = time.monotonic(), folder_name(name, None)
        images = self._answers(folder, model)
        seconds = time.monotonic() - begun
        self._add(StoredTrial(name=name, seed=None, folder=folder, seconds=seconds, train_images=images))

    def _train(self, name: str, seed: int) -> None:
        folder, steps = folder_name(name, seed), self.plans[name].steps
        config = with_seed(self.configs[name], seed, steps)

        def measured(encoder: Encoder) -> dict:
            return {"train_images": self._answers(folder, encoder)}

        with counting(f"{name}, seed {seed}") as progress:
            record = run_trial(self.folder / "trials" / folder, self.data, config, steps, progress, measured)
        self._add(StoredTrial(name=name, seed=seed, folder=folder, **record))

    def _answers(self, folder: str, model: Model) -> dict[str, int]:
        labels = [*self.data.labelled[0].labels]
        session = dataclasses.replace(self.data.session(model), unmeasured=frozenset(labels[1:]))
        results = run_tasks.measure(session, TASKS)
        return write_answers(self.folder / "trials" / folder, results)

    def _add(self, trial: StoredTrial) -> None:
        with (self.folder / TRIALS).open("a") as file:
            file.write(as_json(trial) + "\n")
        self.trials.append(trial)
        runs = len(self.configs) * len(self.seeds)
        done = sum(trial.seed is not None for trial in self.trials)
        where = f"{trial.name}, seed {trial.seed} ({done} of {runs})" if trial.seed is not None else trial.name
        log(f"  {where}: {self._outcome(trial)}")

    def _outcome(self, trial: StoredTrial) -> str:
        if trial.failed:
            return f"diverged ({trial.failed})"
        values = (f"{name} {float(r.statistic(r.rows.sum(0))):.1%}" for name, r in self.results(trial).items())
        return f"{', '.join(values)}, {duration(trial.seconds)}"
