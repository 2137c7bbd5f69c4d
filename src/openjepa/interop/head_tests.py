"""How good a head was on its test images, beside always giving the same answer: kept with the head, and in words."""

from collections.abc import Sequence

import numpy as np

from openjepa.evaluation.intervals import paired_difference, ratio
from openjepa.evaluation.judgement import Judgement, judge_difference
from openjepa.evaluation.results import in_units, is_fraction, mean_of
from openjepa.safety.schema import Count, Name, Schema, Text


class HeadTest(Schema):
    """The result of a head and of the constant (`constant`), by a `metric`, with the difference of the two.

    `low` and `high` are the 95 % interval of the difference; `unit` is that of the numbers, "" of fractions.
    """

    name: Name
    metric: Name
    value: float
    constant: float
    low: float
    high: float
    test_images: Count
    unit: Text = ""


def head_test(name: str, metric: str, scores: np.ndarray, constant: np.ndarray, unit: str = "") -> HeadTest:
    """From what a head and the constant score on each test image, float64 [m]."""
    _, low, high = paired_difference(mean_of(scores), mean_of(constant), ratio)
    values = {"value": float(scores.mean()), "constant": float(constant.mean()), "low": low, "high": high}
    return HeadTest(name=name, metric=metric, test_images=len(scores), unit=unit, **values)


def result_lines(tests: Sequence[HeadTest]) -> list[str]:
    """Lines for the user, with a warning where a head was not clearly better than the constant."""
    if not tests:
        return ["how good the head was on test images is not kept with it: write it again with --save-head"]
    return [_line(test) for test in tests]


def _line(test: HeadTest) -> str:
    record = {"metric": test.metric, "protocol": {}}
    unit = " %" if is_fraction(record) else f" {test.unit}" * bool(test.unit)
    own, constant = (
        in_units(record | dict.fromkeys(("value", "low", "high"), number))[0] + unit
        for number in (test.value, test.constant)
    )
    said = f"{test.name}, {test.metric} {own}, that of always giving the same answer {constant}"
    line = f"the head on {test.test_images:,} test images: {said}"
    if judge_difference(record, test.low, test.high) is Judgement.BETTER:
        return line
    return f"warning: {line}: not clearly better, so do not rely on what the head says"
