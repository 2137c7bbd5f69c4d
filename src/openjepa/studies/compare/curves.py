"""Accuracy over the runs by the online probe, and what it was at equal seconds, images and operations."""

from collections.abc import Mapping
from statistics import fmean
from typing import NamedTuple

import numpy as np

from openjepa.studies.compare.stored import StoredPlan
from openjepa.studies.compare.study import Comparison
from openjepa.training.monitoring.metrics_log import read_metrics

PROBE = "linear"
COSTS = ("seconds", "images", "operations")
ENDED = 0.95  # fraction of a run from which its learning rate has fallen


class Equal(NamedTuple):
    """What contenders reach with the same `budget` of one kind: (accuracy, fraction of the run) by name."""

    cost: str
    budget: float
    reached: Mapping[str, tuple[float, float]]


def step_cost(plan: StoredPlan, cost: str) -> float:
    """Of one step: seconds, images or operations."""
    return float({"seconds": plan.step_seconds, "images": plan.batch_size, "operations": plan.operations}[cost])


def curve(study: Comparison, name: str) -> list[tuple[int, float]]:
    """(step, accuracy) of a contender's runs, the mean over the seeds that have the step; [] without any."""
    values: dict[int, list[float]] = {}
    for trial in study.of(name):
        for record in read_metrics(study.folder / "trials" / trial.folder):
            if PROBE in record:
                values.setdefault(record["step"], []).append(record[PROBE])
    return [(step, fmean(found)) for step, found in sorted(values.items())]


def equal_costs(study: Comparison) -> list[Equal]:
    """For each kind of cost: the most that all contenders have spent, and their accuracy by then."""
    curves = {name: points for name in study.configs if (points := curve(study, name))}
    return [_equal(study.plans, curves, cost) for cost in COSTS] if curves else []


def _equal(plans: Mapping[str, StoredPlan], curves: Mapping[str, list[tuple[int, float]]], cost: str) -> Equal:
    spent = {name: plans[name].steps * step_cost(plans[name], cost) for name in curves}
    budget = min(spent.values())
    reached = {
        name: (_at(points, budget / step_cost(plans[name], cost)), budget / spent[name])
        for name, points in curves.items()
    }
    return Equal(cost, budget, reached)


def _at(points: list[tuple[int, float]], step: float) -> float:
    steps, values = zip(*points, strict=True)
    return float(np.interp(step, steps, values))
