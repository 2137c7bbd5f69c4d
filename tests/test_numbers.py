"""No number is shown as a negative zero: what rounds to nothing has no sign, wherever it is written."""

import re

from matplotlib.figure import Figure

from openjepa.console import TrainingDisplay
from openjepa.encoder.similarity import in_words
from openjepa.interop.model_card import _measured
from openjepa.reports.html import ENVIRONMENT
from openjepa.reports.monitor_charts import Curve, curve_chart
from openjepa.training.monitoring.verdict import verdict

NOTHING = (-0.0, -1e-9)
MEASURED = {"rank": 10.0, "std": 0.4, "positional_fraction": 0.1, "energy_gap": 0.5, "ema_distance": 0.3}


def is_negative_zero(text: str) -> bool:
    return bool(re.search(r"[-−]0(\.0*)?(?![.\d])", text))


def test_the_energy_gap_of_a_verdict():
    for gap in NOTHING:
        for progress in (0.0, 1.0):
            assert not is_negative_zero(verdict(MEASURED | {"energy_gap": gap}, MEASURED, progress).text)


def test_points_of_a_page():
    points = ENVIRONMENT.filters["points"]
    assert [points(value) for value in (*NOTHING, 0.012, -0.012)] == ["+0.0", "+0.0", "+1.2", "-1.2"]
    assert [ENVIRONMENT.filters["percent"](value) for value in NOTHING] == ["0.0%", "0.0%"]


def test_cosines_and_losses():
    display = TrainingDisplay(steps=10, done=0, batch_size=1)
    for value in NOTHING:
        display.state = {"loss": value}
        assert in_words(value, 0.5).startswith("0.000 ") and "loss 0.0000" in display.line()


def test_the_card_of_a_model_shows_values_as_the_table_of_evaluate_does():
    protocol = {"test": "photos", "test_images": 40, "unit": "objects"}
    fraction = {"model": "a", "task": "appearance:colour", "metric": "R2", "value": -0.0, "low": -0.1, "high": 0.2}
    error = {"model": "a", "task": "count-error", "metric": "RMSE", "value": 3.2, "low": 2.5, "high": 4.0}
    text = _measured([one | {"protocol": protocol} for one in (fraction, error)])
    assert "| 0.0 (-10.0 to 20.0) |" in text and "| 3.20 (2.50 to 4.00) |" in text


def test_the_axes_of_a_chart():
    figure: Figure = curve_chart(Curve([0, 1, 2], [-0.3, 0.0, 0.2], percent=True), 2)
    formatter = figure.axes[0].yaxis.get_major_formatter()
    assert formatter(-0.0, 0) == "0 %" and formatter(-10.0, 0) in ("-10 %", "−10 %")
