"""One judgement of better and worse, by the metric, for the terminal, the report and the page."""

import pytest

from openjepa.evaluation.judgement import CONSTANT, Judgement, constant_sentence, judge
from openjepa.evaluation.results import in_units, measure_of
from openjepa.reports.evaluation_page import evaluation_page
from openjepa.reports.run_page import standing
from openjepa.runs.outputs import comparison, make_verdicts


def record(model, task, metric, value, **paired):
    protocol = {"paired_difference_to": paired, "near_duplicates": 0, "test_images": 9, "test": "t"}
    return {
        "model": model,
        "data": "d",
        "task": task,
        "metric": metric,
        "value": value,
        "low": value - 0.1,
        "high": value + 0.1,
        "protocol": protocol,
    }


CASES = [
    ("accuracy", [0.05, 0.01, 0.09], Judgement.BETTER),
    ("accuracy", [-0.05, -0.09, -0.01], Judgement.WORSE),
    ("accuracy", [0.05, -0.01, 0.09], Judgement.UNCLEAR),
    ("mean error", [-0.5, -0.9, -0.1], Judgement.BETTER),
    ("MAE", [-0.5, -0.9, -0.1], Judgement.BETTER),
    ("RMSE", [0.5, 0.1, 0.9], Judgement.WORSE),
    ("RMSE", [0.5, -0.1, 0.9], Judgement.UNCLEAR),
]


@pytest.mark.parametrize(("metric", "difference", "expected"), CASES)
def test_terminal_report_and_page_say_the_same(metric, difference, expected):
    other = [0.0 - difference[0], 0.0 - difference[2], 0.0 - difference[1]]
    pixels, mine = record("pixels", "t", metric, 0.5, mine=other), record("mine", "t", metric, 0.5, pixels=difference)
    assert judge(mine, pixels) is expected
    words = {
        Judgement.BETTER: "better than all",
        Judgement.WORSE: "worse than a",
        Judgement.UNCLEAR: "not clearly better",
    }
    assert standing([pixels, mine], "mine").startswith(f"mine is {words[expected]}")
    said = comparison([pixels, mine], "mine", "pixels")
    better = {
        Judgement.BETTER: "mine is better here than pixels: in t",
        Judgement.WORSE: "pixels is better here than mine",
    }
    assert said.startswith(
        better.get(expected, "neither of mine and pixels is better here; not clearly different in t")
    )
    assert f"<td>{expected}</td>" in evaluation_page([pixels, mine])


def test_without_paired_differences_intervals_decide():
    low, high = record("a", "t", "mean error", 0.2), record("b", "t", "mean error", 0.6)
    assert (judge(low, high), judge(high, low)) == (Judgement.BETTER, Judgement.WORSE)
    assert judge(low, record("c", "t", "mean error", 0.3)) is Judgement.UNCLEAR


def test_what_nothing_beats_is_said_once():
    records = [
        record(CONSTANT, "count-error", "mean error", 3.34),
        record("mine", "count-error", "mean error", 3.3),
        record(CONSTANT, "linear:kind", "accuracy", 0.3),
        record("mine", "linear:kind", "accuracy", 0.8),
        record(CONSTANT, "appearance:colour", "R2", 0.0),
        record("mine", "appearance:colour", "R2", 0.0),
    ]
    (sentence,) = constant_sentence(records)
    assert (
        sentence == "nothing beats always giving the same answer in count-error: there, no model has learned anything"
    )
    assert make_verdicts(records, ["mine"]) == [sentence]
    assert constant_sentence(records[2:]) == []


def test_units_are_those_of_the_task_and_zero_has_no_sign():
    assert measure_of(record("a", "count-error", "mean error", 1.0)) == "mean error in objects"
    assert measure_of(record("a", "count-error", "MAE", 1.0)) == "mean error in objects"  # as older versions wrote it
    assert measure_of(record("a", "depth", "RMSE", 1.0)) == "RMSE in units of the maps"
    assert measure_of(record("a", "linear", "accuracy", 1.0)) == "accuracy"
    assert in_units({"metric": "accuracy", "value": -0.0001, "low": -0.0004, "high": 0.0}) == ("0.0", "0.0", "0.0")
    assert "MAE" not in evaluation_page([record("a", "count-error", "MAE", 1.0)])
