"""Which methods are compared with which views, and what a budget comes to."""

import pytest

from openjepa.errors import UsageError
from openjepa.methods.registry import METHODS
from openjepa.studies.compare.contenders import contenders, fitting, parse_budget, parse_measures, parse_methods


@pytest.mark.parametrize(
    ("views", "names"),
    [
        ("own", ["mae", "byol", "dino"]),
        ("same", ["mae", "byol, crops", "dino, crops"]),
        ("both", ["mae", "byol", "byol, crops", "dino", "dino, crops"]),
    ],
)
def test_methods_of_one_crop_are_compared_once(views, names):
    assert [one.name for one in contenders(["mae", "byol", "dino"], views)] == names


def test_a_budget_is_seconds_of_training_images_or_operations():
    assert parse_budget("images:1000").steps(64, 123.0, 5) == 15
    assert parse_budget("1m").steps(64, 0.5, 5) == int(60 / (0.5 * 1.05))
    assert parse_budget("operations:2.5e9").steps(64, 0.5, 10**6) == 2500
    assert parse_budget("operations:7000000").steps(64, 0.5, 2 * 10**6) == 3
    for least in ("images:1", "1s", "operations:1"):
        assert parse_budget(least).steps(64, 9.0, 10**9) == 1


def test_what_is_not_understood_is_refused_in_one_line():
    for call, message in (
        (lambda: parse_budget("images:0"), "--budget images:0 is not understood: give the time of a run, as 30m"),
        (lambda: parse_budget("operations:5e99"), "--budget operations:5e99 is not understood"),
        (lambda: parse_budget("flops:5"), "--budget flops:5 is not understood"),
        (lambda: parse_measures("linear,depth"), "--tasks depth is not known: known are linear, knn"),
        (lambda: parse_measures("knn"), "--tasks knn lacks linear, by which methods are compared: add it"),
        (lambda: parse_methods("mae,simclear"), "--methods simclear is not known: known are all, ijepa"),
        (lambda: parse_methods(" , "), "--methods is empty: give all"),
        (lambda: contenders(["mae"], "crops"), "--views crops is not known: known are own, same, both"),
    ):
        with pytest.raises(UsageError) as error:
            call()
        assert message in str(error.value) and "\n" not in str(error.value)
    assert parse_methods("all") == list(METHODS) and parse_methods("mae, mae,dino") == ["mae", "dino"]


def test_each_gets_the_recipe_of_its_method_and_shared_settings():
    ijepa, simclr = (
        fitting("laptop", {"model": "vit_tiny", "batch_size": None}, one, 7)
        for one in contenders(["ijepa", "simclr"], "same")
    )
    assert (ijepa.batch_size, simclr.batch_size, ijepa.model, simclr.model) == (16, 128, "vit_tiny", "vit_tiny")
    assert (ijepa.views, simclr.views, simclr.seed) == (None, "crops", 7)
