"""One judgement of better and worse, by the metric, for the terminal, the report and the page."""

import pytest

from openjepa.console import console
from openjepa.evaluation.judgement import CONSTANT, Judgement, classes_in_words, constant_sentence, judge, verdict_of
from openjepa.evaluation.results import in_units, measure_of, row_name
from openjepa.reports.evaluation_page import evaluation_page
from openjepa.runs.outputs import comparison, make_verdicts, show_records


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
        Judgement.BETTER: "better than",
        Judgement.WORSE: "worse than",
        Judgement.UNCLEAR: "not clearly different from",
    }
    sentence = f"model mine: {words[expected]} pixels, in t"
    assert make_verdicts([pixels, mine], ["mine"]) == [sentence] == [verdict_of([pixels, mine], "mine")]
    assert f"<p>M{sentence[1:]}.</p>" in evaluation_page([pixels, mine], [sentence])
    said = comparison([pixels, mine], "mine", "pixels")
    better = {
        Judgement.BETTER: "model mine is better here than pixels: in t",
        Judgement.WORSE: "model pixels is better here than mine",
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
        sentence
        == "no model is clearly better than always giving the same answer in count (mean error), from 9 test images"
    )
    assert make_verdicts(records, ["mine"]) == [
        "model mine: not clearly different from constant, in count (mean error); better than constant, in "
        "linear probe (kind)",
        sentence,
    ]
    assert constant_sentence(records[2:]) == []


def counted(kind=None):
    """Counts by two measures: the accuracy is not clearly better than the constant's, the error is."""
    better, alike = {CONSTANT: [-0.462, -0.816, -0.123]}, {CONSTANT: [0.1, -0.1, 0.3]}
    records = [
        record(CONSTANT, "count", "accuracy", 0.3),
        record("pixels", "count", "accuracy", 0.3),
        record("runs/blood", "count", "accuracy", 0.4, **alike, pixels=[0.1, -0.1, 0.2]),
        record(CONSTANT, "count-error", "mean error", 3.45),
        record("pixels", "count-error", "mean error", 3.4),
        record("runs/blood", "count-error", "mean error", 2.99, **better, pixels=[-0.4, -0.5, -0.3]),
    ]
    for each in records:
        each["protocol"] |= {"kind": kind} if kind else {}
        each["protocol"] |= {"classes": ["1 to 9", "10 to 11"]} if each["task"] == "count" else {}
    return records


def test_a_task_is_not_called_unlearned_by_one_of_its_measures():
    assert constant_sentence(counted()) == []
    neither = [each for each in counted() if each["task"] == "count"]
    assert "in count (accuracy), from 9 test images" in constant_sentence(neither)[0]


def test_a_sentence_on_a_model_says_which_baselines_it_is_better_than():
    assert verdict_of(counted("WBC"), "runs/blood") == (
        "model runs/blood: not clearly different from constant and pixels, in count of WBC (accuracy); "
        "better than constant and pixels, in count of WBC (mean error)"
    )


def test_the_kind_the_direction_and_the_classes_are_shown(capsys):
    show_records(counted("WBC"))
    said = " ".join(capsys.readouterr().out.split())
    page = evaluation_page(counted("WBC"))
    assert "of errors less is better" in said and "less is better" in page
    assert "<h1>Count of WBC on d</h1>" in page and "<title>Count of WBC on d" in page
    (classes,) = classes_in_words(counted("WBC"))
    assert classes in said and classes[1:] in page and classes.endswith(": 1 to 9, 10 to 11")
    for words in ("count of WBC (accuracy)", "count of WBC (mean error in objects)"):
        assert set(words.split()) <= set(said.split())  # folded in the table


def test_a_table_wider_than_the_terminal_has_models_in_rows(capsys, monkeypatch):
    name = "untrained:vit_nano_patch8_48x64"
    records = [record(model, "knn", "accuracy", 0.25) for model in (CONSTANT, "pixels", name, "mine")]
    show_records(records)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    number = ["25.0", "15.0", "to", "35.0"]
    assert ["knn"] in lines and all([model, *number] in lines for model in (CONSTANT, "pixels", name, "mine"))
    monkeypatch.setattr(console, "width", 140)
    show_records(records)
    assert ["knn", *(4 * number)] in [line.split() for line in capsys.readouterr().out.splitlines()]


def test_the_report_names_a_measure_once():
    assert row_name(record("a", "count-error", "mean error", 1.0)) == "count (mean error in objects)"
    assert row_name(record("a", "knn:shape", "accuracy", 1.0)) == "k-NN (shape)"


def test_units_are_those_of_the_task_and_zero_has_no_sign():
    assert measure_of(record("a", "count-error", "mean error", 1.0)) == "mean error in objects"
    assert measure_of(record("a", "count-error", "MAE", 1.0)) == "mean error in objects"  # as older versions wrote it
    assert measure_of(record("a", "depth", "RMSE", 1.0)) == "RMSE in units of the maps"
    assert measure_of(record("a", "linear", "accuracy", 1.0)) == "accuracy"
    assert in_units({"metric": "accuracy", "value": -0.0, "low": -1e-9, "high": 0.0}) == ("0.0", "0.0", "0.0")
    assert "MAE" not in evaluation_page([record("a", "count-error", "MAE", 1.0)])


@pytest.mark.parametrize(("low", "shown"), [(-0.0002, "-0.02"), (0.0002, "0.02"), (-0.00003, "-0.003"), (0.0, "0.0")])
def test_a_bound_that_is_not_zero_is_not_shown_as_zero(low, shown):
    assert in_units({"metric": "accuracy", "value": 0.07, "low": low, "high": 0.151}) == ("7.0", shown, "15.1")


@pytest.mark.parametrize(
    ("value", "low", "high", "shown"),
    [
        (3.5561, 3.0, 4.1912, ("3.56", "3.00", "4.19")),
        (0.01234, 0.01, 0.0151, ("0.0123", "0.0100", "0.0151")),
        (1234.5, 998.0, 1500.2, ("1234", "998", "1500")),
        (0.0, -0.0001, 0.0, ("0.00", "0.00", "0.00")),
    ],
)
def test_a_value_with_units_and_its_bounds_have_the_same_decimals(value, low, high, shown):
    assert in_units({"metric": "mean error", "value": value, "low": low, "high": high}) == shown
