"""Thresholds keep the rate that was asked for, and no rate is promised that the images do not carry."""

import numpy as np
import pytest
from scipy.stats import norm

from openjepa.anomaly.calibration import Calibration, Spread, conformal_threshold, needed
from openjepa.anomaly.fitting.normals import split_normals
from openjepa.errors import UsageError


@pytest.mark.parametrize(("rate", "count"), [(0.01, 99), (0.05, 19), (0.05, 133), (0.1, 9), (0.1, 57)])
def test_the_rate_of_false_alarms_is_kept(rate, count):
    """Over draws of held-out images the mean rate is at most what was asked, and nearly that."""
    rng = np.random.default_rng(0)
    draws = 1500
    thresholds = [conformal_threshold(rng.normal(size=count), rate) for _ in range(draws)]
    rates = np.array([norm.sf(threshold.value) for threshold in thresholds])
    assert 0.5 * rate < rates.mean() < rate + 3 * rates.std() / draws**0.5
    within = np.mean((rates >= thresholds[0].low) & (rates <= thresholds[0].high))
    assert within == pytest.approx(0.95, abs=0.02)


def test_too_few_images_carry_no_rate():
    assert [needed(rate) for rate in (0.5, 0.1, 0.05, 0.01, 0.001)] == [1, 9, 19, 99, 999]
    with pytest.raises(UsageError, match=r"--false-alarms 1% needs 99 normal images .* 98 can be; 98 carry 1\.01% or"):
        conformal_threshold(np.arange(98.0), 0.01)
    with pytest.raises(UsageError, match=r"of 1 images 0 can be: give more normal images"):
        split_normals(1, 0.5, 0)
    with pytest.raises(UsageError, match=r"needs 99 .*, and of 99 images 98 can be"):
        split_normals(99, 0.01, 0)


@pytest.mark.parametrize("count", [1, 2, 39, 40, 100, 5000])
@pytest.mark.parametrize("rate", [None, 0.1])
def test_every_image_has_one_part(count, rate):
    if rate and needed(rate) > count - 1:
        return
    split = split_normals(count, rate, 3)
    assert sorted(np.concatenate(split)) == list(range(count))
    assert len(split.fit) >= 1 and (len(split.threshold) >= needed(rate) if rate else not len(split.threshold))


def test_a_threshold_that_one_image_sets_is_said_with_how_many_would_help():
    """Of as many normal images as the line names, the odd one among those held out no longer is the threshold."""
    for rate, more in ((0.1, 19), (0.05, 39), (0.01, 199), (0.004, 499)):
        scores = np.arange(float(more))
        scores[-1] = 1e6  # one odd image
        few, enough = conformal_threshold(scores[1:], rate), conformal_threshold(scores, rate)
        assert few.value == 1e6 and enough.value < more and enough.warnings() == []
        (line,) = few.warnings()
        assert f"the highest score of the {more - 1:,} held-out images" in line
        assert f"with {4 * more:,} normal images {more:,} would be held out" in line
        assert len(split_normals(4 * more, rate, 0).threshold) == more
        assert len(split_normals(4 * more - 1, rate, 0).threshold) < more
    (line,) = conformal_threshold(np.zeros(1), 0.5).warnings()
    assert "of the 1 held-out image, so that" in line


def test_p_values_count_the_normal_images_that_score_as_high():
    calibration = Calibration({"memory": Spread((0.0, 1.0))}, "", np.array([3.0, 1.0, 2.0, 2.0]))
    assert calibration.p_values(np.array([0.0, 2.0, 2.5, 4.0])).tolist() == [1.0, 0.8, 0.4, 0.2]
