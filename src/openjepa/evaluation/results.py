"""A measured number with the contribution of each test image, from which its interval and differences follow."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from torch import Tensor

from openjepa.evaluation.intervals import (
    Statistic,
    accuracy_interval,
    bootstrap_interval,
    over_draws,
    paired_difference,
    ratio,
)
from openjepa.evaluation.judgement import LOWER_IS_BETTER, SEVERAL_MEASURES, metric_of, question_of

MOST_DECIMALS = 4  # of percentages near 0
MOST_UNIT_DECIMALS = 6  # of what has units
UNNAMED = ("accuracy", "recall", "mAP", "delta1")  # measures that the task's name says, or that go without saying
ABOUT = ("unit", "kind", "classes")  # of a protocol: what a result is of, whichever model it is of


@dataclass(frozen=True)
class Result:
    """`statistic(rows.sum(0))` is the value; rows [m, k] float64 hold a row a test image.

    `draws` are the values of single draws of training images, or of single runs, where there were several; `drawn`
    is their name in the protocol. `constant` is the result of always giving the same answer.
    """

    task: str
    metric: str
    rows: np.ndarray
    protocol: dict[str, Any]
    statistic: Statistic = ratio
    draws: Sequence[float] = field(default=())
    drawn: str = "draws"
    constant: "Result | None" = None

    def beside(self, rows: np.ndarray, answer: str) -> "Result":
        """This result with that of a constant, whose rows are like its own; `answer` is what the constant says."""
        protocol = {"answer": answer, "train_images": self.protocol.get("train_images")}
        protocol |= {name: self.protocol[name] for name in ABOUT if name in self.protocol}
        return replace(self, constant=Result(self.task, self.metric, rows, protocol, self.statistic))

    def interval(self) -> tuple[tuple[float, float, float], str]:
        """(value, low, high) at 95 %, and how it was found."""
        single = self.rows.shape[1] == 2 and self.statistic is ratio
        if single and not self.draws and set(np.unique(self.rows[:, 0])) <= {0.0, 1.0} and (self.rows[:, 1] == 1).all():
            return accuracy_interval(self.rows[:, 0]), "Wilson 95 %"
        interval, how = bootstrap_interval(self.rows, self.statistic), "bootstrap over test images, 95 %"
        if len(self.draws) < 2:
            return interval, how
        return over_draws(
            interval, self.draws
        ), f"bootstrap over test images, t over {len(self.draws)} {self.drawn}, 95 %"

    def record(self) -> dict[str, Any]:
        """task, metric, value, low, high and protocol, as plain values."""
        (value, low, high), how = self.interval()
        protocol = self.protocol | {"test_images": len(self.rows), "interval": how}
        return {
            "task": self.task,
            "metric": self.metric,
            "value": value,
            "low": low,
            "high": high,
            "protocol": protocol,
        }

    def versus(self, other: "Result") -> tuple[float, float, float] | None:
        """Difference to another model's result on the same images, with its 95 % interval; None if they differ."""
        if len(self.rows) != len(other.rows):
            return None
        found = paired_difference(self.rows, other.rows, self.statistic, other.statistic)
        for draws in differences(self.draws, other.draws):
            found = over_draws(found, draws)
        return found


def differences(mine: Sequence[float], theirs: Sequence[float]) -> list[Sequence[float]]:
    """The draws that vary the difference of two means: their differences, where both have as many."""
    several = [draws for draws in (mine, theirs) if len(draws) > 1]
    if len(several) == 2 and len(mine) == len(theirs):
        return [np.subtract(mine, theirs).tolist()]
    return several


def over_seeds(results: Sequence[Result]) -> Result:
    """The mean of a task's results over runs that differ in their seed, with an interval over images and seeds."""
    first, n = results[0], len(results)

    def mean(sums: np.ndarray) -> np.ndarray:
        return np.mean([r.statistic(part) for r, part in zip(results, np.split(sums, n, axis=-1), strict=True)], axis=0)

    rows = np.concatenate([result.rows for result in results], axis=1)
    values = [float(result.statistic(result.rows.sum(0))) for result in results]
    protocol = {"runs": n, "values": values, "train_images": first.protocol.get("train_images")}
    protocol |= {name: first.protocol[name] for name in ABOUT if name in first.protocol}
    return Result(first.task, first.metric, rows, protocol, mean, values, "seeds")


def named(task: str, label: str) -> str:
    """The name of a task on a label: the task alone for class folders, else with the label, as in "knn:shape"."""
    return task if label == "class" else f"{task}:{label}"


def mean_of(scores: Tensor | np.ndarray) -> np.ndarray:
    """Rows [m, 2] for the mean of scores [m]."""
    scores = np.asarray(scores, dtype=np.float64)
    return np.stack([scores, np.ones_like(scores)], axis=1)


def is_fraction(record: dict) -> bool:
    """Whether the number is shown in percent."""
    return metric_of(record) not in LOWER_IS_BETTER


def in_units(record: dict) -> tuple[str, str, str]:
    """Value, low and high as text: percent with a decimal, or what has units with three digits of the value.

    A percentage that is not 0 has further decimals where one would show it as 0. Of what has units all three have as
    many decimals.
    """
    numbers = [record[key] for key in ("value", "low", "high")]
    decimals = _decimals(numbers[0])
    value, low, high = (_percent(n) if is_fraction(record) else f"{n:z.{decimals}f}" for n in numbers)
    return value, low, high


def _decimals(value: float) -> int:
    """The decimals that show three digits of a number."""
    if not value or not math.isfinite(value):
        return 2
    return min(max(2 - math.floor(math.log10(abs(value))), 0), MOST_UNIT_DECIMALS)


def _percent(fraction: float) -> str:
    texts = (f"{100 * fraction:z.{decimals}f}" for decimals in range(1, MOST_DECIMALS + 1))
    return next((text for text in texts if float(text)), "0.0")


def measure_of(record: dict) -> str:
    """What was measured in words, with the unit of what is no fraction: "mean error in objects"."""
    metric = metric_of(record)
    unit = record["protocol"].get("unit") or {"mean error": "objects", "RMSE": "units of the maps"}.get(metric)
    return metric if is_fraction(record) else f"{metric} in {unit}"


def with_measure(name: str, record: dict) -> str:
    """A name of what a record is about and, where it does not go without saying, by which measure."""
    said = record["task"] not in SEVERAL_MEASURES and metric_of(record) in UNNAMED
    return name if said else f"{name} ({measure_of(record)})"


def row_name(record: dict) -> str:
    """The head of a table's row: what a record is about, and its measure where it does not go without saying."""
    return with_measure(question_of(record), record)
