"""How far a measured accuracy can be from the true one."""

from statistics import NormalDist

import numpy as np
from torch import Tensor

from openjepa.errors import UsageError


def accuracy_interval(correct: Tensor | np.ndarray, level: float = 0.95) -> tuple[float, float, float]:
    """(value, low, high) in [0, 1] for the mean of booleans [m]: the Wilson score interval at `level` confidence.

    Unlike the normal approximation it stays inside [0, 1] and keeps a width at 0 and 100 % (Wilson 1927, Journal of
    the American Statistical Association 22, 209-212). Raises UsageError for no answers at all.
    """
    n = len(correct)
    if n == 0:
        raise UsageError("an accuracy of 0 test images was asked for: give at least one")
    value = float(correct.sum()) / n
    z2 = NormalDist().inv_cdf((1 + level) / 2) ** 2
    centre = (value + z2 / (2 * n)) / (1 + z2 / n)
    half = (z2 * (value * (1 - value) / n + z2 / (4 * n * n))) ** 0.5 / (1 + z2 / n)
    return value, max(0.0, centre - half), min(1.0, centre + half)
