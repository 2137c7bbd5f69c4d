"""A measured number with what each test image contributed to it, so that it has an interval and can be compared."""

from collections.abc import Sequence
from dataclasses import dataclass, field
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

IN_UNITS = ("RMSE", "MAE")  # of these less is better, and they are no fractions


@dataclass(frozen=True)
class Result:
    """`statistic(rows.sum(0))` is the value; rows [m, k] float64 hold a row a test image.

    `draws` are the values of single draws of training images, where several were made.
    """

    task: str
    metric: str
    rows: np.ndarray
    protocol: dict[str, Any]
    statistic: Statistic = ratio
    draws: Sequence[float] = field(default=())

    def interval(self) -> tuple[tuple[float, float, float], str]:
        """(value, low, high) at 95 %, and how it was found."""
        single = self.rows.shape[1] == 2 and self.statistic is ratio
        if single and not self.draws and set(np.unique(self.rows[:, 0])) <= {0.0, 1.0} and (self.rows[:, 1] == 1).all():
            return accuracy_interval(self.rows[:, 0]), "Wilson 95 %"
        interval, how = bootstrap_interval(self.rows, self.statistic), "bootstrap over test images, 95 %"
        if len(self.draws) < 2:
            return interval, how
        return over_draws(interval, self.draws), f"bootstrap over test images, t over {len(self.draws)} draws, 95 %"

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
        if self.rows.shape != other.rows.shape:
            return None
        return paired_difference(self.rows, other.rows, self.statistic)


def mean_of(scores: Tensor | np.ndarray) -> np.ndarray:
    """Rows [m, 2] for the mean of scores [m]."""
    scores = np.asarray(scores, dtype=np.float64)
    return np.stack([scores, np.ones_like(scores)], axis=1)


def is_fraction(record: dict) -> bool:
    """Whether the number is shown in percent."""
    return record.get("metric") not in IN_UNITS


def in_units(record: dict) -> tuple[str, str, str]:
    """Value, low and high as text: percent with a decimal, or three digits of what has units."""
    numbers = (record[key] for key in ("value", "low", "high"))
    return tuple(f"{100 * number:.1f}" if is_fraction(record) else f"{number:.3g}" for number in numbers)


def above(record: dict, other: dict) -> bool:
    """Whether a record's interval lies on the better side of another's, without overlap."""
    if is_fraction(record):
        return record["low"] > other["high"]
    return record["high"] < other["low"]
