"""Equal methods differ within the interval, and a planted difference is found."""

import comparisons
import pytest

from openjepa.studies.compare.conclusion import Noise

REPEATS = 40


def test_equal_methods_are_seldom_called_different_and_three_points_are_mostly_found():
    """benchmarks/comparisons.py has more of them."""
    assert comparisons.clear(6, 2000, 0.0, REPEATS) <= 0.05 and comparisons.clear(6, 2000, 0.03, REPEATS) >= 0.8


def test_noise_is_pooled_over_methods():
    noise = Noise.of([[0.50, 0.52], [0.61, 0.63, 0.65]])
    assert noise.std == pytest.approx(((2 * 0.01**2 + 2 * 0.02**2) / 3) ** 0.5) and noise.degrees == 3
    assert noise.half_width(4) == noise.half_width(4, 0) < noise.half_width(4, 4)
    assert Noise.of([[0.5], [0.6]]) == (0.0, 0) and Noise(0.0, 0).half_width(1, 1) == 0
