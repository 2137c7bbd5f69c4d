"""A run that is healthy and hardly better by the labels than untrained says so once, alike wherever it ends."""

import html
import json
import re

import pytest
from support.photos import draw_photos

import openjepa
from openjepa.evaluation.intervals import accuracy_difference
from openjepa.training.monitoring.monitors import Monitor
from openjepa.training.monitoring.probe_gain import probe_remark
from openjepa.training.monitoring.verdict import verdict

SMALL = {"image_size": 16, "batch_size": 8, "predictor_depth": 1, "workers": 0, "context_ratio": 0.2}
MEASURED = {"rank": 10.0, "std": 0.4, "positional_fraction": 0.1, "energy_gap": 0.5, "ema_distance": 0.3}
SHOWS = "labels hardly show"


@pytest.mark.parametrize(
    ("first", "last", "images", "said"),
    [
        (0.40, 0.43, 512, ""),
        (
            0.40,
            0.425,
            512,
            "k-NN ends at 42.5%, not clearly above the untrained encoder's 40.0% (difference +2.5 points",
        ),
        (
            0.40,
            0.39,
            512,
            "k-NN ends at 39.0%, not clearly above the untrained encoder's 40.0% (difference -1.0 points",
        ),
        (0.40, 0.30, 512, "k-NN ends at 30.0%, below the untrained encoder's 40.0% (difference -10.0 points"),
        (0.40, 0.42, 50_000, "hardly above the untrained encoder's 40.0% (difference +2.0 points"),
        (0.50, 0.4999999, 512, "(difference +0.0 points"),
    ],
)
def test_less_than_three_points_are_said_with_their_interval(first, last, images, said):
    remark = probe_remark({"knn": first}, {"knn": last}, images, {"steps": 400})
    assert said in remark and bool(said) == (SHOWS in remark) == ("(--steps 800)" in remark)
    assert "-0.0" not in remark


def test_the_interval_is_newcombes():
    """The first example of his table II, method 10: 56 of 70 and 48 of 80."""
    gain, low, high = accuracy_difference((48 / 80, 80), (56 / 70, 70))
    assert gain == pytest.approx(0.2) and (round(low, 4), round(high, 4)) == (0.0524, 0.3339)


def test_without_a_probe_and_beside_an_alarm_nothing_is_said():
    assert probe_remark({}, {"knn": 0.4}, 512, {}) == probe_remark({"knn": 0.4}, {}, 512, {}) == ""
    assert verdict(MEASURED, MEASURED, 1.0, remark="But so.").text.endswith("of the target's variance. But so.")
    weak = verdict(MEASURED | {"rank": 8.0}, MEASURED, 1.0, remark="But so.")
    assert weak.status == "weak" and "But so." not in weak.text


@pytest.fixture
def always_healthy(monkeypatch):
    monkeypatch.setattr(Monitor, "__call__", lambda self, model: dict(MEASURED))


def records_of(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.usefixtures("reports")
def test_terminal_report_and_record_say_the_same(tmp_path, capsys, always_healthy):
    photos = draw_photos(tmp_path / "photos", 48)
    openjepa.pretrain(str(photos), out=tmp_path / "run", steps=2, **SMALL)
    *_, last = records_of(tmp_path / "run")
    assert last["status"] == "healthy" and last["verdict"].startswith("healthy: ") and SHOWS in last["advice"]
    assert capsys.readouterr().out.count(last["advice"]) == 1
    page = html.unescape(re.sub("<[^>]+>", "", (tmp_path / "run" / "report.html").read_text()))
    assert page.count(last["advice"]) == 1


def test_a_run_that_goes_on_compares_with_its_untrained_start(tmp_path, always_healthy):
    photos = draw_photos(tmp_path / "photos", 48)
    openjepa.pretrain(str(photos), out=tmp_path / "run", steps=2, **SMALL)
    openjepa.pretrain(str(photos), out=tmp_path / "run", resume=True, steps=4)
    first, *_, last = records_of(tmp_path / "run")
    assert last["step"] == 4 and f"the untrained encoder's {first['knn']:.1%}" in last["advice"]


def test_a_run_without_labels_has_nothing_new(tmp_path, always_healthy):
    photos = draw_photos(tmp_path / "photos", 24, classes=())
    openjepa.pretrain(str(photos), out=tmp_path / "run", steps=2, **SMALL)
    assert [record["advice"] for record in records_of(tmp_path / "run") if "advice" in record] == ["", ""]
