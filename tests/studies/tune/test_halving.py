"""Successive halving keeps the best and fits into its budget, whichever candidates go on."""

import itertools

import pytest

from openjepa.studies.tune.halving import FACTOR, Costs, best, least_seconds, make_plan, rung_sizes


def test_a_third_goes_on_until_three_are_left():
    assert rung_sizes(27) == [27, 9, 3]
    assert rung_sizes(10) == [10, 4, 2]
    assert rung_sizes(3) == [3]


def test_the_best_go_on_and_failed_runs_never():
    assert best({"a": 0.1, "b": 0.9, "c": None, "d": 0.5}, 2) == ["b", "d"]
    assert best({"a": None, "b": 0.2}, 2) == ["b"]
    assert best({"first": 0.5, "second": 0.5}, 1) == ["first"]


COSTS = Costs({"recipe": 1.0, "a": 3.0, "b": 0.5, "c": 1.0, "d": 2.0}, "recipe", combined=4.5, repeats=2, run=10.0)


def test_the_plan_fits_the_budget_whoever_goes_on():
    plan = make_plan(COSTS, 3000.0)
    assert plan.sizes == [5, 2] and plan.images[1] // plan.images[0] == FACTOR
    assert sum(plan.seconds) == pytest.approx(3000.0)
    first = plan.images[0] * (sum(COSTS.image.values()) + 2) + 7 * 10
    for going in itertools.combinations(COSTS.image.values(), 2):
        second = plan.images[1] * (sum(going) + 1.0 + 4.5) + 4 * 10
        assert first + second <= 3000.0
    longer = make_plan(COSTS, 6000.0)
    assert longer.images[0] > 2 * plan.images[0]  # what every run costs beside its images is not paid twice


def test_rungs_are_given_up_for_runs_that_are_long_enough():
    costs = Costs({str(k): 1.0 for k in range(27)}, "0", combined=1.0, repeats=2, run=10.0)
    short = make_plan(costs, 10_000.0)
    assert short.sizes == [27, 9, 3]
    assert make_plan(costs, 10_000.0, short.images[0]) == short
    longer = make_plan(costs, 10_000.0, short.images[0] + 1)
    assert longer.sizes == [27, 9] and longer.images[0] > 1.5 * short.images[0]
    assert sum(longer.seconds) == pytest.approx(10_000.0)
    assert make_plan(costs, 10_000.0, float("inf")) == longer  # two are left whatever is asked for


def test_the_least_budget_is_the_one_that_gives_the_least_runs():
    least = least_seconds(COSTS, 50)
    assert make_plan(COSTS, least + 1e-6).images[0] == 50
    assert make_plan(COSTS, 0.9 * least).images[0] < 50
    many = Costs({str(k): 1.0 for k in range(27)}, "0", combined=1.0, repeats=2, run=10.0)
    assert make_plan(many, least_seconds(many, 50) + 1e-6, 50).images[0] == 50
