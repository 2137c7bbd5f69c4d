"""Trends are told as they are, and the page's parts say what they are given."""

import pytest

from openjepa.reports.ablations import ABLATIONS, DIFFERENT, SAME, UNKNOWN, trend
from openjepa.reports.charts import svg
from openjepa.reports.tuning_sections import runs_chart, scatter_chart, settings_chart

BY_SETTING = {ablation.setting: ablation for ablation in ABLATIONS}


def test_trend_is_the_sign_of_the_rank_correlation():
    targets = BY_SETTING["num_targets"]
    assert trend(targets, {1: 0.2, 2: 0.3, 4: 0.5}, 0.01) == SAME
    assert trend(targets, {1: 0.5, 2: 0.3, 4: 0.2}, 0.01) == DIFFERENT
    assert trend(targets, {1: 0.3, 2: 0.5, 3: 0.5, 4: 0.3}, 0.01) == UNKNOWN  # as much alike as opposed


def test_noise_and_missing_values_say_nothing():
    targets = BY_SETTING["num_targets"]
    assert trend(targets, {1: 0.2, 2: 0.3, 4: 0.5}, 0.2) == UNKNOWN
    assert trend(targets, {4: 0.5}, 0.01) == UNKNOWN
    assert trend(targets, {}, 0.01) == UNKNOWN
    assert trend(targets, {6: 0.1, 4: 0.5}, 0.01) == UNKNOWN  # the paper has no 6


@pytest.mark.parametrize(
    "setting, same", [("predictor_depth", {1: 0.2, 2: 0.3}), ("predictor_dim", {32: 0.3, 64: 0.2})]
)
def test_of_the_predictor_only_the_direction_carries_over(setting, same):
    ablation, values = BY_SETTING[setting], list(same)
    assert trend(ablation, same, 0.01) == SAME
    assert trend(ablation, dict(zip(values, reversed(same.values()), strict=True)), 0.01) == DIFFERENT


def test_the_papers_best_are_its_own_choices():
    for setting, value in {"masks": "multiblock", "target_scale": (0.15, 0.2), "num_targets": 4}.items():
        results = BY_SETTING[setting].results
        assert max(results, key=results.get) == value and results[value] == 54.2


def test_charts_show_every_value_and_stay_inside_the_page():
    groups = {"lr": {"lr 0.1": 40.0, "lr 0.2": 45.0}, "masks": {"masks <b>": 30.0}}
    lines = {"recipe": ((0, 50, 100), (3.0, 2.0, 1.0)), "best": ((0, 100), (3.0, 0.5))}
    charts = settings_chart(groups, 44.0, 0.5, "linear"), runs_chart(lines, "best", "recipe", True)
    texts = [svg(chart, "x") for chart in (*charts, scatter_chart([(0.1, 0.4, True), (0.2, 0.5, False)], "score"))]
    assert all(word in texts[0] for word in ("lr 0.1", "lr 0.2", "masks &lt;b&gt;", "recipe"))
    assert all("http" not in text for text in texts)
    assert [len(line.get_xdata()) for line in charts[1].axes[0].lines] == [3, 2]  # ours is drawn last, above
