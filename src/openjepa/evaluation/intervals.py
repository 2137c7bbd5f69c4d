"""Confidence intervals of measured numbers, and of differences on the same images."""

import functools
import math
from collections.abc import Callable, Sequence
from statistics import NormalDist

import numpy as np
from torch import Tensor

from openjepa.errors import UsageError

REPEATS = 1000
Statistic = Callable[[np.ndarray], np.ndarray]  # sums over images [..., k] to values [...]


def accuracy_interval(correct: Tensor | np.ndarray, level: float = 0.95) -> tuple[float, float, float]:
    """(value, low, high) in [0, 1] for the mean of booleans [m]: the Wilson score interval at `level` confidence.

    Unlike the normal approximation it stays inside [0, 1] and keeps a width at 0 and 100 % (Wilson 1927, Journal of
    the American Statistical Association 22, 209-212). Raises UsageError for no answers at all.
    """
    n = len(correct)
    if n == 0:
        raise UsageError("there is no accuracy of 0 test images: give at least one")
    value = float(correct.sum()) / n
    z2 = NormalDist().inv_cdf((1 + level) / 2) ** 2
    centre = (value + z2 / (2 * n)) / (1 + z2 / n)
    half = (z2 * (value * (1 - value) / n + z2 / (4 * n * n))) ** 0.5 / (1 + z2 / n)
    return value, max(0.0, centre - half), min(1.0, centre + half)


def accuracy_difference(
    first: tuple[float, int], last: tuple[float, int], level: float = 0.95
) -> tuple[float, float, float]:
    """(value, low, high) of the difference of two accuracies, last - first, each with its number of test images.

    From Wilson intervals (Newcombe 1998, Statistics in Medicine 17, 873-890, method 10). The images of the two are
    treated as independent samples: where they are the same images, `paired_difference` is narrower.
    """
    one, other = (accuracy_interval(np.arange(n) < round(value * n), level) for value, n in (first, last))
    difference = other[0] - one[0]
    below = math.hypot(other[0] - other[1], one[2] - one[0])
    above = math.hypot(other[2] - other[0], one[0] - one[1])
    return difference, difference - below, difference + above


def ratio(sums: np.ndarray) -> np.ndarray:
    """The first of the sums [..., 2] over the second: a mean, where the second counts."""
    return sums[..., 0] / np.maximum(sums[..., 1], 1e-300)


def resampled_sums(rows: np.ndarray, repeats: int = REPEATS, seed: int = 0) -> np.ndarray:
    """Sums [repeats, k] of what each test image contributes, rows [m, k], over images drawn with replacement.

    The draws depend on m and `seed` alone, so those of two models on the same images are paired (Efron 1979, Annals of
    Statistics 7, 1-26).
    """
    return np.concatenate([part @ rows for part in np.array_split(_draws(len(rows), repeats, seed), 20)])


@functools.lru_cache(maxsize=2)
def _draws(m: int, repeats: int, seed: int) -> np.ndarray:
    """How often each of m images is drawn: uint8 [repeats, m]."""
    rng = np.random.default_rng(seed % 2**64)
    return np.stack([np.bincount(rng.integers(m, size=m), minlength=m).astype(np.uint8) for _ in range(repeats)])


def bootstrap_interval(
    rows: np.ndarray, statistic: Statistic = ratio, level: float = 0.95, seed: int = 0
) -> tuple[float, float, float]:
    """(value, low, high) of statistic(sum of rows [m, k]): the percentile bootstrap over test images."""
    if len(rows) == 0:
        raise UsageError("there is no result on 0 test images: give at least one")
    values = statistic(resampled_sums(rows, seed=seed))
    return float(statistic(rows.sum(0))), *_percentiles(values, level)


def paired_difference(
    first: np.ndarray,
    second: np.ndarray,
    statistic: Statistic = ratio,
    other: Statistic | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float, float]:
    """(difference, low, high) of a statistic of two models measured on the same images, rows [m, k] and [m, j].

    `other` is the statistic of the second, where it is not the same.
    """
    k, other = first.shape[1], other or statistic
    both = np.concatenate([first, second], axis=1)
    sums = resampled_sums(both, seed=seed)
    value = float(statistic(first.sum(0)) - other(second.sum(0)))
    return value, *_percentiles(statistic(sums[:, :k]) - other(sums[:, k:]), level)


def over_draws(
    interval: tuple[float, float, float], draws: Sequence[float], level: float = 0.95
) -> tuple[float, float, float]:
    """An interval over test images, widened by how much the value differs between draws of the training images.

    The two half-widths add in squares; that of the draws is Student's for their mean.
    """
    from scipy.special import stdtrit  # takes a quarter of a second to import, which most commands need not wait for

    value, low, high = interval
    error = np.std(draws, ddof=1) / len(draws) ** 0.5
    half = float(stdtrit(len(draws) - 1, (1 + level) / 2) * error)
    return value, value - float(np.hypot(value - low, half)), value + float(np.hypot(high - value, half))


def _percentiles(values: np.ndarray, level: float) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
