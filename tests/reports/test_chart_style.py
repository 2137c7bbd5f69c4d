"""Charts are the same bytes each time, have no outside reference, and draw the values that they are given."""

import re
from xml.etree import ElementTree

import numpy as np

from openjepa.reports.chart_style import as_picture, coverage_chart, svg
from openjepa.reports.monitor_charts import Curve, curve_chart, runs_chart
from openjepa.reports.result_charts import result_chart, settings_chart

RECORDS = [
    {"model": model, "task": task, "value": value, "low": value - 0.02, "high": value + 0.02}
    for task in ("linear", "knn:shape")
    for model, value in (("pixels", 0.3), ("untrained", 0.35), ("runs/<b>&$x^$", 0.61234))
]


def charts():
    curve = Curve([0, 10, 20], [0.5, 0.25, 0.125], {"untrained": 0.5, "pixels": 0.3}, percent=True)
    part = np.linspace(0, 0.5, 12).reshape(3, 4)
    return curve_chart(curve, 40), result_chart(RECORDS), coverage_chart({"context": part, "target": 1 - part})


def test_svg_is_the_same_each_time_and_refers_to_nothing_outside():
    for one, other in zip(charts(), charts(), strict=True):
        text = svg(one, 'a "chart" & more')
        assert text == svg(other, 'a "chart" & more')
        assert "http" not in text and "<metadata" not in text
        ids = set(re.findall(r'\bid="([^"]*)"', text))
        assert set(re.findall(r'href="((?!data:image/png)[^"]*)"', text)) <= {f"#{name}" for name in ids}
        assert set(re.findall(r"url\(([^)]*)\)", text)) <= {f"#{name}" for name in ids}
        ElementTree.fromstring(text.replace("<svg", '<svg xmlns:xlink="x"', 1))


def test_names_and_numbers_are_on_the_charts():
    curve, results, coverage = (svg(chart, "") for chart in charts())
    for words in ("last 12.5 %", "untrained 50.0 %", "pixels 30.0 %"):
        assert words in curve
    for words in ("61.2", "runs/&lt;b&gt;&amp;$x^$", "linear probe", "k-NN (shape)"):
        assert words in results
    assert "context: 0 % to 50 % of the images" in coverage and "target: 50 % to 100 % of the images" in coverage


def test_dots_stand_where_the_values_are():
    axes = result_chart(RECORDS).axes[0]
    dots = {(round(float(line.get_xdata()[0]), 3)) for line in axes.lines if line.get_marker() == "o"}
    assert dots == {30, 35, 61.234}
    picture = as_picture(result_chart(RECORDS), dpi=50)
    assert picture.dtype == np.uint8 and (picture[0] == 255).all() and picture.min() < 100


def test_a_curve_ends_at_its_last_value_and_zero_has_no_sign():
    axes = curve_chart(Curve([0, 10], [0.3, -0.0001], percent=True), 40).axes[0]
    assert axes.get_xlim() == (0, 40)
    assert axes.lines[0].get_ydata()[-1] == axes.lines[1].get_ydata()[-1] == -0.01
    assert [*axes.lines[1].get_xdata()] == [0, 10] and axes.lines[1].get_marker() == "o"  # few values: a dot each
    many = curve_chart(Curve(range(0, 300, 10), [0.3] * 30), 300).axes[0]
    assert [*many.lines[1].get_xdata()] == [290]
    assert axes.lines[0].get_label() == "last 0.0 %"


def test_settings_beyond_the_noise_are_in_colour():
    groups = {"lr": {"lr 0.1": 40.0, "lr 0.2": 44.2}, "masks": {"masks <b>": 30.0}}
    axes = settings_chart(groups, 44.0, 0.5, "linear").axes[0]
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    assert [line.get_xdata()[0] for line in dots] == [40.0, 44.2, 30.0]
    assert dots[0].get_color() == dots[2].get_color() != dots[1].get_color()
    assert [label.get_text() for label in axes.get_yticklabels()] == ["lr 0.1", "lr 0.2", "masks <b>"]


def test_the_winners_run_is_drawn_above_the_others():
    lines = {"best": [(0, 0.3), (100, 0.05)], "recipe": [(0, 0.3), (50, 0.2), (100, 0.1)], "other": [(0, 0), (100, 1)]}
    drawn = runs_chart(lines, "best", "recipe", percent=True).axes[0].lines
    assert [list(line.get_ydata()) for line in drawn] == [[0, 100], [30, 20, 10], [30, 5]]
