"""A score that needs no labels, and what it has been worth so far: its rank correlation with accuracy."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from scipy.stats import spearmanr

STUDY = Path(__file__).with_name("label_free.json")  # written by benchmarks/label_free.py


def label_free_score(now: Mapping[str, float], untrained: Mapping[str, float]) -> float:
    """The effective rank, as a multiple of the untrained encoder's, times the energy gap, times one minus the
    positional share; 0 or more.

    Each factor is low in one way of failing: embeddings alike, predictions that do not use the image, targets that say
    where and not what. `now` and `untrained` are what a Monitor gives.
    """
    content = max(0.0, now["energy_gap"]) * (1 - now["positional_fraction"])
    return now["rank"] / untrained["rank"] * content


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float:
    """Spearman's rho of paired numbers, in [-1, 1]; 0 where there are fewer than three or all are equal."""
    if len(one) < 3 or len(set(one)) == 1 or len(set(other)) == 1:
        return 0.0
    return float(spearmanr(one, other).statistic)


def agreement(runs: Iterable[Mapping]) -> float:
    """How well `score` ranks runs as `linear` does: the rank correlation within each `group`, averaged by its runs.

    Within, because longer runs are better by either measure, and a choice is made among runs of one length.
    """
    groups: dict[str, list[Mapping]] = {}
    for run in runs:
        groups.setdefault(str(run.get("group")), []).append(run)
    found = [(len(g), rank_correlation([r["score"] for r in g], [r["linear"] for r in g])) for g in groups.values()]
    return sum(count * rho for count, rho in found) / max(1, sum(count for count, _ in found))


def read_study() -> list[dict]:
    """The runs of the project's study: group, score and linear (accuracy, a fraction) of each."""
    runs = json.loads(STUDY.read_text())["runs"]
    return [run for run in runs if math.isfinite(run["score"])]
