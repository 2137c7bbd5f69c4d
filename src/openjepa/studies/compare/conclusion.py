"""What a comparison found: means over seeds with intervals, paired differences, and what follows from them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import t as student

from openjepa.evaluation.intervals import bootstrap_interval, paired_difference
from openjepa.evaluation.judgement import listed
from openjepa.evaluation.results import Result, over_seeds
from openjepa.studies.compare.stored import STATISTICS
from openjepa.studies.compare.study import Comparison

LEVEL = 0.95
JUDGED_BY = "linear"
Record = dict[str, Any]


class Noise(NamedTuple):
    """How far runs of one contender differ by the seed: a std, and the degrees of freedom it was estimated with."""

    std: float
    degrees: int

    @classmethod
    def of(cls, groups: Sequence[Sequence[float]]) -> "Noise":
        """The std within groups, pooled: three seeds of one contender alone say little about it."""
        degrees = sum(len(values) - 1 for values in groups)
        squares = sum(float(np.square(np.subtract(values, np.mean(values))).sum()) for values in groups)
        return cls((squares / degrees) ** 0.5 if degrees else 0.0, degrees)

    def half_width(self, *counts: int) -> float:
        """Half of the interval of a mean of so many runs, or of the difference of two; models without runs count 0."""
        if not self.degrees:
            return 0.0
        error = self.std * sum(1 / count for count in counts if count) ** 0.5
        return float(student.ppf((1 + LEVEL) / 2, self.degrees)) * error


class Difference(NamedTuple):
    """`name` minus `other`, fractions, with its 95 % interval; clear where the interval is on one side of 0."""

    name: str
    other: str
    value: float
    low: float
    high: float

    @property
    def clear(self) -> bool:
        return self.low > 0 or self.high < 0


class Group(NamedTuple):
    """The results of a contender or model on a task over its seeds, of which a model has none (0)."""

    name: str
    result: Result
    values: Sequence[float]
    seeds: int


def widened(interval: tuple[float, float, float], half: float) -> tuple[float, float, float]:
    """An interval over test images, and the half-width over seeds added in squares."""
    value, low, high = interval
    return value, value - float(np.hypot(value - low, half)), value + float(np.hypot(high - value, half))


def groups_of(study: Comparison) -> dict[str, list[Group]]:
    """By task, what was measured of each contender and model, contenders first."""
    found: dict[str, list[Group]] = {}
    for name in (*study.configs, *study.beside):
        trials = study.of(name)
        results = [study.results(trial) for trial in trials]
        for task in results[0] if results else ():
            parts = [result[task] for result in results]
            values = [float(part.statistic(part.rows.sum(0))) for part in parts]
            runs = len(parts) if name in study.configs else 0
            found.setdefault(task, []).append(Group(name, over_seeds(parts), values, runs))
    return found


def noise_of(groups: Sequence[Group]) -> Noise:
    return Noise.of([group.values for group in groups if group.seeds])


def difference(one: Group, other: Group, noise: Noise) -> Difference:
    """By the same test images, and by how much seeds differ."""
    paired = paired_difference(one.result.rows, other.result.rows, one.result.statistic, other.result.statistic)
    return Difference(one.name, other.name, *widened(paired, noise.half_width(one.seeds, other.seeds)))


def records(study: Comparison) -> list[Record]:
    """Every measurement as `evaluate` has them, best first on each task."""
    found = []
    for task, groups in groups_of(study).items():
        noise = noise_of(groups)
        for group in sorted(groups, key=lambda group: -np.mean(group.values)):
            interval = bootstrap_interval(group.result.rows, group.result.statistic)
            value, low, high = widened(interval, noise.half_width(group.seeds))
            low, high = (low, high) if group.result.metric in STATISTICS else (max(low, 0.0), min(high, 1.0))
            protocol = {"values": list(group.values), "train_images": group.result.protocol["train_images"]}
            protocol |= {"test_images": len(group.result.rows), "seed_std": noise.std, "seed_degrees": noise.degrees}
            record = {"model": group.name, "data": study.data.source, "task": task, "metric": group.result.metric}
            found.append(record | {"value": value, "low": low, "high": high, "protocol": protocol})
    return found


def differences(study: Comparison) -> list[Difference]:
    """Of the best contender by the linear probe, to every other and to the models beside."""
    groups = next((g for task, g in groups_of(study).items() if task.split(":")[0] == JUDGED_BY), [])
    trained = [group for group in groups if group.seeds]
    if not trained:
        return []
    best, noise = max(trained, key=lambda group: float(np.mean(group.values))), noise_of(groups)
    return [difference(best, other, noise) for other in groups if other is not best]


def sentences(study: Comparison) -> list[str]:
    """What can be concluded, in plain words."""
    found, noise = differences(study), _noise(study)
    if not found:
        return ["No run was measured: all have diverged."]
    best = found[0].name
    equal = [one.other for one in found if one.other in study.configs and not one.clear]
    said = [f"By the linear probe {best} is best"]
    said[0] += f", and its difference to {listed(equal)} may be noise." if equal else ", clearly before all others."
    if len(study.configs) == 1:
        said = [f"Only {best} was trained."]
    for one in (one for one in found if one.other in study.beside):
        how = "not clearly different from" if not one.clear else f"clearly {'above' if one.value > 0 else 'below'}"
        said.append(f"{best} is {how} {one.other} ({100 * one.value:+z.1f} points, {_range(one)}).")
    if missing := study.missing():
        names = listed([*dict.fromkeys(part.name for part in missing)])
        parts = len(study.parts())
        said.append(f"{len(missing)} of {parts} parts are missing ({names}): what is said here may change with them.")
    failed = [f"{trial.name} (seed {trial.seed})" for trial in study.trials if trial.failed]
    if failed:
        said.append(f"{listed(failed)} diverged and is left out.")
    if noise.degrees:
        said.append(f"Runs that differ by their seed alone differ by {100 * noise.std:.1f} points (std).")
    else:
        said.append("There is one seed: how much results change with it is not known, and no interval includes it.")
    return said


def _noise(study: Comparison) -> Noise:
    groups = next((g for task, g in groups_of(study).items() if task.split(":")[0] == JUDGED_BY), [])
    return noise_of(groups)


def _range(one: Difference) -> str:
    return f"{100 * one.low:+z.1f} to {100 * one.high:+z.1f}"
