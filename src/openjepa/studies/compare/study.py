"""A comparison: every contender with every seed, and models beside them, each stored when it is measured.

Several processes, also of several machines, may work in one study. Each part of it is taken by one of them at a time.
"""

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from openjepa.console import counting, duration, log
from openjepa.device import choose_device
from openjepa.encoder.encoder import Encoder
from openjepa.encoder.features import Model
from openjepa.errors import UsageError
from openjepa.evaluation import run_tasks
from openjepa.evaluation.results import Result, in_units
from openjepa.files.lock import is_taken, locked, taken
from openjepa.files.temporary import remove_leftovers
from openjepa.runs.settings import AGAIN, Config
from openjepa.studies.compare.contenders import with_seed
from openjepa.studies.compare.parts import Part
from openjepa.studies.compare.stored import (
    TRIALS,
    StoredPlan,
    StoredTrial,
    add_trial,
    check_measured,
    folder_name,
    read_answers,
    read_trials,
    write_answers,
)
from openjepa.studies.compare.tuning import Tuning, changed, read_tuning, tune, validation_data
from openjepa.studies.trial import TrialData, run_trial
from openjepa.training.timing import PeakMemory

MOMENT = 60.0  # seconds within which another process has stored its result
TUNING = 30 * 86400.0  # seconds within which another process has run the trials of a contender


@dataclass
class Comparison:
    """A comparison.

    folder      where it is stored
    data        what all runs share
    configs     of the contenders, by name, with the first seed
    plans       their length and cost
    beside      what opens the models that are only measured: pixels, an untrained encoder, those of --beside
    seeds       of the runs
    tasks       of `evaluate`, by which all are measured
    tune        trials by which the settings of each contender are chosen before its runs
    trials      that have finished
    """

    folder: Path
    data: TrialData
    configs: Mapping[str, Config]
    plans: Mapping[str, StoredPlan]
    beside: Mapping[str, Callable[[], Model]]
    seeds: range
    tasks: Sequence[str]
    tune: int = 0
    trials: list[StoredTrial] = field(default_factory=list)

    def run(self, wanted: Sequence[Part]) -> None:
        """Measure and train those of the `wanted` parts that no process has done, and none is doing.

        Raises UsageError if the disk is full.
        """
        try:
            self.load()
            (self.folder / "trials").mkdir(exist_ok=True)
            while any(self._do(part) for part in wanted):  # again, for what others have left undone meanwhile
                pass
            self.load()
        except OSError as error:
            again = "make room, then continue with --resume"
            raise UsageError(f"cannot write {self.folder}: {error}; {again}") from error

    def load(self) -> None:
        """Read what has finished so far. Raises UsageError where it is damaged."""
        self._read()
        check_measured(self.folder, self.trials)

    def parts(self) -> list[Part]:
        """All parts: the models that are only measured, then one seed of all contenders before the next."""
        runs = [Part(name, seed) for seed in self.seeds for name in self.configs]
        return [*(Part(name, None) for name in self.beside), *runs]

    def missing(self) -> list[Part]:
        """The parts that have not finished."""
        return [part for part in self.parts() if not self._has(part)]

    def in_progress(self, part: Part) -> bool:
        """Whether a process works on it."""
        return is_taken(self._lock(part))

    def tuning(self, name: str) -> Tuning | None:
        """The trials by which the settings of a contender were chosen, as far as they have been run."""
        path = self._tuning(name)
        return read_tuning(path, self.configs[name]) if self.tune and path.is_file() else None

    def results(self, trial: StoredTrial) -> dict[str, Result]:
        return read_answers(self.folder / "trials" / trial.folder, trial)

    def of(self, name: str) -> list[StoredTrial]:
        """The trials of a contender or model, by seed, without those that failed."""
        found = [trial for trial in self.trials if trial.name == name and not trial.failed]
        return sorted(found, key=lambda trial: trial.seed or 0)

    def _read(self) -> None:
        self.trials = read_trials(self.folder)
        known = {*self.parts()}
        for trial in self.trials:
            if Part(trial.name, trial.seed) not in known:
                raise UsageError(f"{self.folder / TRIALS} is damaged: {trial.name} is no trial of this study: {AGAIN}")

    def _has(self, part: Part) -> bool:
        return any(Part(trial.name, trial.seed) == part for trial in self.trials)

    def _lock(self, part: Part) -> Path:
        return self.folder / "trials" / f"{folder_name(*part)}.lock"

    def _do(self, part: Part) -> bool:
        """Train and measure a part, unless that is done or another process is at it; gives whether it was done here."""
        if self._has(part):
            return False
        with taken(self._lock(part)) as ours:
            self._read()
            if not ours or self._has(part):
                return False
            remove_leftovers(self.folder / "trials" / folder_name(*part))
            self._train(part.name, part.seed) if part.seed is not None else self._measure(part.name)
        return True

    def _measure(self, name: str) -> None:
        begun, folder = time.monotonic(), folder_name(name, None)
        answers = self._answers(folder, self.beside[name]())
        seconds = time.monotonic() - begun
        self._add(StoredTrial(name=name, seed=None, folder=folder, seconds=seconds, **answers))

    def _train(self, name: str, seed: int) -> None:
        folder, steps = folder_name(name, seed), self.plans[name].steps
        config = with_seed(self._tuned(name), seed, steps)

        def measured(encoder: Encoder) -> dict:
            return self._answers(folder, encoder)

        memory = PeakMemory(choose_device(config.device))
        with counting(f"{name}, seed {seed}") as progress:

            def watched(done: int, total: int) -> None:
                memory.look()
                progress(done, total)

            path = self.folder / "trials" / folder
            record = run_trial(path, self.data, config, steps, watched, measured, curve=True)
        self._add(StoredTrial(name=name, seed=seed, folder=folder, memory=memory.bytes, **record))

    def _tuning(self, name: str) -> Path:
        return self.folder / "trials" / f"{folder_name(name, None)}-tuning.json"

    def _tuned(self, name: str) -> Config:
        """The config of a contender with what its trials chose, which one process runs while others wait."""
        config, path = self.configs[name], self._tuning(name)
        if not self.tune:
            return config
        with taken(path.with_suffix(".lock"), wait=TUNING):
            done = tune(path, name, validation_data(self.data), config, self.plans[name].steps, self.tune)
        return changed(config, done.chosen, path)

    def _answers(self, folder: str, model: Model) -> dict:
        labels = [*self.data.labelled[0].labels]
        session = dataclasses.replace(self.data.session(model), unmeasured=frozenset(labels[1:]))
        results = run_tasks.measure(session, self.tasks)
        return write_answers(self.folder / "trials" / folder, results)

    def _add(self, trial: StoredTrial) -> None:
        with locked(self.folder, wait=MOMENT):
            add_trial(self.folder, trial)
            self._read()
        runs = len(self.configs) * len(self.seeds)
        done = sum(trial.seed is not None for trial in self.trials)
        where = f"{trial.name}, seed {trial.seed} ({done} of {runs})" if trial.seed is not None else trial.name
        log(f"  {where}: {self._outcome(trial)}")

    def _outcome(self, trial: StoredTrial) -> str:
        if trial.failed:
            return f"diverged ({trial.failed})"
        values = (f"{name} {in_units(r.record())[0]} %" for name, r in self.results(trial).items())
        return f"{', '.join(values)}, {duration(trial.seconds)}"


def lines_of_missing(study: Comparison) -> Iterator[str]:
    """What has not finished yet, by contender; what is being worked on is named so."""
    seeds: dict[str, list[str]] = {}
    for part in study.missing():
        busy = " in progress" if study.in_progress(part) else ""
        seeds.setdefault(part.name, []).append(f"{part.seed}{busy}" if part.seed is not None else busy)
    for name, found in seeds.items():
        yield f"  missing: {name}" + (f", seed {', '.join(found)}" if name in study.configs else "".join(found))
