"""The label-free score falls with each way of failing, and what it is worth is read from the study's file."""

import json

import pytest
from scipy.stats import spearmanr

from openjepa.training import score
from openjepa.training.score import agreement, label_free_score, rank_correlation, read_study

UNTRAINED = {"rank": 10.0, "positional_share": 0.3, "energy_gap": 0.0}
GOOD = {"rank": 25.0, "positional_share": 0.1, "energy_gap": 0.5}


def test_score_is_the_product_that_it_says():
    assert label_free_score(GOOD, UNTRAINED) == pytest.approx(2.5 * 0.5 * 0.9)
    for failing in ({"rank": 2.0}, {"positional_share": 0.95}, {"energy_gap": 0.02}, {"energy_gap": -0.1}):
        assert 0 <= label_free_score(GOOD | failing, UNTRAINED) < 0.2 * label_free_score(GOOD, UNTRAINED)


def test_rank_correlation_is_spearmans_and_0_where_there_is_none():
    one, other = [0.1, 0.5, 0.2, 0.9, 0.3], [1.0, 2.0, 4.0, 3.0, 0.5]
    assert rank_correlation(one, other) == pytest.approx(spearmanr(one, other).statistic)
    assert rank_correlation([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]) == 0.0
    assert rank_correlation([1.0, 2.0], [1.0, 2.0]) == 0.0


def test_agreement_is_within_groups():
    """Longer runs are better by either measure; that must not pass for a ranking of settings."""
    short = [{"group": "short", "score": s, "linear": a} for s, a in ((0.1, 0.3), (0.2, 0.2), (0.3, 0.1))]
    long = [{"group": "long", "score": s + 1, "linear": a + 1} for s, a in ((0.1, 0.3), (0.2, 0.2), (0.3, 0.1))]
    assert agreement(short) == agreement(short + long) == -1.0
    assert agreement([]) == 0.0


def test_the_file_is_the_score_of_its_monitors():
    runs = json.loads(score.STUDY.read_text())["runs"]
    assert read_study() == runs
    for run in runs:
        assert run["score"] == pytest.approx(label_free_score(run["monitors"], run["untrained"]), rel=1e-6)
        assert 0 <= run["linear"] <= 1 and run["group"]
