import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from scipy.stats import t as student

from openjepa.errors import UsageError
from openjepa.evaluation.intervals import accuracy_interval, bootstrap_interval, over_draws, paired_difference
from openjepa.evaluation.probes.dense import mean_iou
from openjepa.evaluation.results import Result, mean_of, over_seeds
from openjepa.evaluation.tasks.appearance import explained, explained_rows, skill
from openjepa.evaluation.tasks.depth import root_mean


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


@pytest.mark.parametrize("paired", [False, True])
def test_the_bootstrap_covers_the_truth_in_90_to_99_of_100_repetitions(paired):
    """Of a root mean squared error of 2, and of the difference of two means of 0.3 on the same images."""
    rng, covered = np.random.default_rng(1), 0
    for seed in range(100):
        hard = rng.normal(size=300)
        if paired:
            first, second = hard + rng.normal(0.3, 0.5, 300), hard + rng.normal(0, 0.5, 300)
            _, low, high = paired_difference(mean_of(first), mean_of(second), seed=seed)
            covered += low <= 0.3 <= high
        else:
            _, low, high = bootstrap_interval(mean_of((2 * hard) ** 2), root_mean, seed=seed)
            covered += low <= 2 <= high
    assert 90 <= covered <= 99


def explained_images(rng, m):
    truth = rng.normal(size=(m, 1))
    return explained_rows(truth, truth + rng.normal(0, 0.7, (m, 1)))


def skilled_images(rng, m):
    """Right in 70 %, where the commonest class would be in 40 %."""
    return np.column_stack([rng.random(m) < 0.7, np.ones(m), rng.random(m) < 0.4]).astype(float)


def masked_images(rng, m):
    """Two classes, as many pixels of each; images differ in the share of the pixels that are wrong, 0.2 in the mean."""
    wrong = rng.binomial(50, rng.beta(2, 8, m), (2, m))
    both, either = 50 - wrong, 50 + wrong[::-1]
    return np.column_stack([*both, *either]).astype(float)


@pytest.mark.parametrize(
    ("draw", "statistic", "truth"),
    [(explained_images, explained, 0.51), (skilled_images, skill, 0.5), (masked_images, mean_iou, 0.8 / 1.2)],
)
def test_what_is_no_mean_of_images_is_covered_too(draw, statistic, truth):
    rng, covered = np.random.default_rng(3), 0
    for _ in range(100):
        _, low, high = bootstrap_interval(draw(rng, 300), statistic)
        covered += low <= truth <= high
    assert 90 <= covered <= 99


def test_an_interval_over_seeds_covers_the_mean_over_all_seeds():
    rng, covered = np.random.default_rng(4), 0
    for _ in range(100):
        chance = 0.5 + 0.1 * rng.normal(size=200)[:, None] + 0.04 * rng.normal(size=3)
        right = rng.random((200, 3)) < chance
        _, low, high = over_seeds([Result("t", "accuracy", mean_of(seed), {}) for seed in right.T]).interval()[0]
        covered += low <= 0.5 <= high
    assert 90 <= covered <= 100


def test_pairs_are_told_apart_where_single_intervals_overlap():
    rng = np.random.default_rng(0)
    hard = rng.normal(size=400)
    first, second = mean_of(hard + 0.05), mean_of(hard + 0.01 * rng.normal(size=400))
    value, low, high = paired_difference(first, second)
    assert low <= value <= high and value == pytest.approx(0.05, abs=0.01) and low > 0
    assert bootstrap_interval(first)[1] < bootstrap_interval(second)[2]


def test_draws_that_differ_widen_an_interval():
    same, apart = (over_draws((0.5, 0.48, 0.53), draws) for draws in ([0.5] * 5, [0.4, 0.45, 0.5, 0.55, 0.6]))
    assert same == pytest.approx((0.5, 0.48, 0.53))
    half = student.ppf(0.975, 4) * np.std([0.4, 0.45, 0.5, 0.55, 0.6], ddof=1) / 5**0.5
    assert apart == pytest.approx((0.5, 0.5 - np.hypot(0.02, half), 0.5 + np.hypot(0.03, half)))


def test_an_interval_with_draws_covers_the_mean_over_all_draws():
    """200 images, 5 draws: images differ in how hard they are, draws in how good they are."""
    rng, covered = np.random.default_rng(2), 0
    for _ in range(100):
        chance = np.clip(0.5 + 0.15 * rng.normal(size=200)[:, None] + 0.05 * rng.normal(size=5), 0, 1)
        right = rng.random((200, 5)) < chance
        result = Result("t", "accuracy", mean_of(right.mean(1)), {}, draws=right.mean(0).tolist())
        (_, low, high), _ = result.interval()
        covered += low <= 0.5 <= high
    assert 90 <= covered <= 100


def test_a_mean_over_seeds_is_of_values_and_as_wide_as_seeds_differ():
    """Of root mean squared errors, which are no means of images, beside another model on the same images."""
    rng = np.random.default_rng(0)
    hard = 1 + rng.random(300)
    alike, apart = (
        [Result("depth", "RMSE", mean_of((scale * hard) ** 2), {}, root_mean) for scale in scales]
        for scales in ((1.0, 1.0, 1.0), (0.8, 1.0, 1.2))
    )
    (value, low, high), how = over_seeds(apart).interval()
    single = alike[0].interval()[0]
    assert value == pytest.approx(np.mean([r.interval()[0][0] for r in apart])) and how.count("3 seeds") == 1
    assert over_seeds(alike).interval()[0] == pytest.approx(single)
    half = student.ppf(0.975, 2) * 0.2 * root_mean(mean_of(hard**2).sum(0)) / 3**0.5
    assert high - value == pytest.approx(np.hypot(single[2] - single[0], half), rel=1e-3)
    other = Result("depth", "RMSE", mean_of((1.5 * hard) ** 2), {}, root_mean)
    difference, low, high = over_seeds(apart).versus(other)
    assert difference == pytest.approx(-0.5 * single[0]) and low < difference < high
    back = other.versus(over_seeds(apart))
    assert back == pytest.approx((-difference, -high, -low), abs=1e-3)
    assert np.subtract(*over_seeds(alike).versus(other)[1:]) > np.subtract(low, high)
