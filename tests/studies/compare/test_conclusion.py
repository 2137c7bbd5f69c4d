"""Equal methods differ within the interval, and a planted difference is found."""

import numpy as np
import pytest

from openjepa.evaluation.results import Result, mean_of, over_seeds
from openjepa.studies.compare.conclusion import Group, Noise, difference

IMAGES, SEEDS, METHODS, SEED_STD = 2000, 3, 6, 0.006
REPEATS = 40


def groups(rng, planted):
    """Results of methods on the same images; the last is better by `planted`. Seeds differ by a std of 0.6 points."""
    hard = rng.normal(size=IMAGES)
    found = []
    for number in range(METHODS):
        parts = []
        for _ in range(SEEDS):
            level = 0.5 + planted * (number == METHODS - 1) + rng.normal() * SEED_STD
            score = 0.8 * hard + 0.6 * rng.normal(size=IMAGES)
            parts.append(Result("linear", "accuracy", mean_of(score < np.quantile(score, level)), {"train_images": 1}))
        values = [float(part.rows[:, 0].mean()) for part in parts]
        found.append(Group(str(number), over_seeds(parts), values, SEEDS))
    return found


def clear(planted):
    """How many of the comparisons of the last method with the first are called clear."""
    rng, count = np.random.default_rng(0), 0
    for _ in range(REPEATS):
        made = groups(rng, planted)
        count += difference(made[-1], made[0], Noise.of([group.values for group in made])).clear
    return count


def test_equal_methods_are_seldom_called_different_and_three_points_are_mostly_found():
    assert clear(0.0) <= 0.05 * REPEATS and clear(0.03) >= 0.8 * REPEATS


def test_noise_is_pooled_over_methods():
    noise = Noise.of([[0.50, 0.52], [0.61, 0.63, 0.65]])
    assert noise.std == pytest.approx(((2 * 0.01**2 + 2 * 0.02**2) / 3) ** 0.5) and noise.degrees == 3
    assert noise.half_width(4) == noise.half_width(4, 0) < noise.half_width(4, 4)
    assert Noise.of([[0.5], [0.6]]) == (0.0, 0) and Noise(0.0, 0).half_width(1, 1) == 0
