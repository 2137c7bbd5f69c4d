"""Successive halving (Jamieson & Talwalkar 2016, arXiv 1502.07943): all candidates briefly, the best third for longer.

Every rung consists of fresh runs with a whole schedule, because an interrupted run lacks the end, where the learning
rate falls. The reference (the recipe as it is) runs in every rung, so that each has a comparison.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

FACTOR = 3
LEAST_RUNGS = 2  # what is better in short runs has to be confirmed in longer ones


@dataclass(frozen=True)
class Plan:
    """By rung: its candidates, its runs at most, the images that each run trains on, its seconds."""

    sizes: list[int]
    runs: list[int]
    images: list[int]
    seconds: list[float]


def rung_sizes(candidates: int) -> list[int]:
    """Candidates in each rung: all of them, then the best third of each rung, until there are three or fewer."""
    sizes = [candidates]
    while sizes[-1] > FACTOR:
        sizes.append(math.ceil(sizes[-1] / FACTOR))
    return sizes


def best(values: Mapping[str, float | None], count: int) -> list[str]:
    """The `count` names with the largest values, best first, of equals the earlier; None (a failed run) never."""
    worked = {name: value for name, value in values.items() if value is not None}
    return sorted(worked, key=lambda name: -worked[name])[:count]


@dataclass(frozen=True)
class Costs:
    """Seconds for each image, by candidate (with the reference), and further seconds of every run.

    `combined` is the cost of a candidate that is made from the best of the first rung and joins the second; `repeats`
    are further runs of the reference in the first.
    """

    image: Mapping[str, float]
    reference: str
    combined: float
    repeats: int
    run: float

    def by_rung(self, sizes: Sequence[int]) -> list[tuple[int, float]]:
        """The number of runs in each rung, and their seconds for one image each if the costliest candidates stay."""
        own = self.image[self.reference]
        rungs = [(sizes[0] + self.repeats, sum(self.image.values()) + self.repeats * own)]
        for rung, size in enumerate(sizes[1:], 1):
            joins, pool = rung == 1, [*self.image.values(), *[self.combined] * (rung > 1)]
            costliest = sorted(pool, reverse=True)[:size]
            rungs.append((size + 1 + joins, sum(costliest) + own + joins * self.combined))
        return rungs


def make_plan(costs: Costs, seconds: float, enough: float = 0.0) -> Plan:
    """The longest runs that fit `seconds`, three times as long in each rung as in the one before.

    It has as many rungs as leave runs of `enough` images in the first one, but at least two where there are as many.
    With too few seconds, runs have less than one image.
    """
    sizes = rung_sizes(len(costs.image))
    plans = (_longest(costs, sizes[:rungs], seconds) for rungs in range(len(sizes), 0, -1))
    return next(plan for plan in plans if plan.images[0] >= enough or len(plan.sizes) <= LEAST_RUNGS)


def _longest(costs: Costs, sizes: list[int], seconds: float) -> Plan:
    rungs = costs.by_rung(sizes)
    lengths = [FACTOR**rung for rung in range(len(sizes))]
    beside = [runs * costs.run for runs, _ in rungs]
    an_image = [length * cost for length, (_, cost) in zip(lengths, rungs, strict=True)]
    images = (seconds - sum(beside)) / sum(an_image)
    taken = [images * cost + rest for cost, rest in zip(an_image, beside, strict=True)]
    return Plan(sizes, [runs for runs, _ in rungs], [math.floor(images * length) for length in lengths], taken)


def least_seconds(costs: Costs, images: int) -> float:
    """Seconds that a plan needs for runs of `images` in the first rung."""
    rungs = costs.by_rung(rung_sizes(len(costs.image))[:LEAST_RUNGS])
    return sum(images * FACTOR**rung * cost + runs * costs.run for rung, (runs, cost) in enumerate(rungs))
