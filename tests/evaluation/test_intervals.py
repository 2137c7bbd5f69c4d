import numpy as np
import pytest
import torch
from scipy.stats import binomtest

from openjepa.errors import UsageError
from openjepa.evaluation.intervals import accuracy_interval


@pytest.mark.parametrize(("hits", "n", "level"), [(0, 30, 0.95), (30, 30, 0.95), (7, 9, 0.9), (8123, 10000, 0.99)])
def test_equals_scipy(hits, n, level):
    expected = binomtest(hits, n).proportion_ci(level, method="wilson")
    assert accuracy_interval(torch.arange(n) < hits, level) == pytest.approx((hits / n, *expected), abs=1e-12)


@pytest.mark.parametrize("n", [60, 500, 5000])
@pytest.mark.parametrize("truth", [0.1, 0.5, 0.73, 0.97])
def test_covers_the_truth_as_often_as_it_says(truth, n):
    answers = np.random.default_rng(0).random((1000, n)) < truth
    intervals = [accuracy_interval(correct) for correct in answers]
    assert 0.92 <= np.mean([low <= truth <= high for _, low, high in intervals]) <= 0.98


@pytest.mark.parametrize("all_right", [True, False])
def test_certain_scores_keep_a_width(all_right):
    value, low, high = accuracy_interval(torch.full((50,), all_right))
    assert value == float(all_right)
    assert 0 <= low < high <= 1
    assert 0.05 < high - low < 0.1
    assert low <= value <= high


def test_refuses_no_answers():
    with pytest.raises(UsageError, match="0 test images"):
        accuracy_interval(torch.zeros(0, dtype=torch.bool))
