"""What a run shows while it trains."""

import pytest

from openjepa import console
from openjepa.console import Pace, TrainingDisplay


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is set."""
    now = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    return now


def test_a_probe_is_shown_with_its_step_only_where_it_is_older_than_the_line():
    display = TrainingDisplay(steps=100, done=0, batch_size=8)
    display({"step": 0, "rank": 9.0, "status": "early", "verdict": "too early to say", "knn": 0.25})
    assert "k-NN 25.0%" in display.line() and "at step" not in display.line()
    display({"step": 60, "loss": 0.5})
    assert "k-NN 25.0% at step 0" in display.line()
    display({"step": 80, "loss": 0.4, "knn": 0.5})
    assert "k-NN 50.0%" in display.line() and "at step" not in display.line()


def test_only_what_a_method_measures_is_shown():
    display = TrainingDisplay(steps=10, done=0, batch_size=8)
    display({"step": 5, "loss": 0.5, "images_per_second": 80.0})
    assert display.line().startswith("80 images/s · loss 0.5000")


def test_the_rate_is_smoothed(clock):
    pace = Pace(100, 0, batch_size=10)
    clock[0] = 1.0
    pace.update({"step": 10, "images_per_second": 100.0})  # 0.1 s a step
    assert pace.images_per_second == pytest.approx(100)
    clock[0] = 3.0
    pace.update({"step": 20, "images_per_second": 50.0})  # 0.2 s a step
    assert pace.images_per_second == pytest.approx(10 / (0.1 + 0.3 * 0.1))


def test_the_time_left_counts_in_what_is_not_a_step(clock):
    pace = Pace(100, 0, batch_size=10)
    clock[0] = 4.0  # of which 2 s were steps
    pace.update({"step": 20, "images_per_second": 100.0})
    assert pace.seconds_left == pytest.approx(80 * 0.1 * 2)


def test_a_resumed_run_counts_its_own_steps_only(clock):
    pace = Pace(100, 60, batch_size=10)
    clock[0] = 1.0
    pace.update({"step": 70, "images_per_second": 100.0})
    assert pace.seconds_left == pytest.approx(30 * 0.1)
