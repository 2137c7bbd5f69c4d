"""A trend is claimed only where there is one."""

import pytest
from plain import PLAIN

from openjepa.config import build_config
from openjepa.reports.studies.paper_ablations import ABLATIONS, DIFFERENT, SAME, UNKNOWN, trend
from openjepa.studies.tune.space import VARIATIONS, values_of

BY_SETTING = {ablation.setting: ablation for ablation in ABLATIONS}


def test_trend_is_the_sign_of_the_rank_correlation():
    targets = BY_SETTING["num_targets"]
    assert trend(targets, {1: 0.2, 2: 0.3, 4: 0.5}, 0.01) == SAME
    assert trend(targets, {1: 0.5, 2: 0.3, 4: 0.2}, 0.01) == DIFFERENT
    assert trend(targets, {1: 0.3, 2: 0.5, 3: 0.5, 4: 0.3}, 0.01) == UNKNOWN  # correlation 0


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


def test_tune_tries_what_the_paper_compares():
    """A study of the paper's own masks has values of each ablation, without which no trend could be seen."""
    base = build_config(PLAIN, {"steps": 1, "masks": "multiblock", "predictor_depth": 6})
    for ablation in ABLATIONS:
        tried = {value for value in VARIATIONS[ablation.setting](base) if ablation.expected(value) is not None}
        own = values_of(base)[ablation.setting]
        assert len(tried | {own} if ablation.expected(own) is not None else tried) >= 2, ablation.setting
