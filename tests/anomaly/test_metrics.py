"""Metrics equal references written from their definitions."""

import numpy as np
import pytest
from scipy.ndimage import label
from sklearn.metrics import average_precision_score, roc_auc_score

from openjepa.anomaly.metrics import PixelHistograms, best_f1, bin_edges, image_metrics, weighted_metrics


def reference_aupro(maps: np.ndarray, masks: np.ndarray, most_false: float = 0.3) -> float:
    """Bergmann et al. 2021: every threshold by itself; the mean over regions of the fraction of each that is found."""
    regions = [
        found == number for mask in masks for found, n in [label(mask, np.ones((3, 3)))] for number in range(1, n + 1)
    ]
    homes = [index for index, mask in enumerate(masks) for _ in range(label(mask, np.ones((3, 3)))[1])]
    points = [(0.0, 0.0)]
    for threshold in np.unique(maps)[::-1]:
        found = maps >= threshold
        overlap = np.mean([found[home][region].mean() for home, region in zip(homes, regions, strict=True)])
        points.append((found[~masks].mean(), overlap))
    false, overlap = np.array(points).T
    fine = np.linspace(0, most_false, 20_001)
    return float(np.trapezoid(np.interp(fine, false, overlap), fine) / most_false)


def planted(seed: int, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """Maps [6, 16, 20] of noise, higher in regions of different sizes of the last four images; and their masks."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((6, 16, 20), bool)
    for image, boxes in {
        2: [(1, 3, 1, 3)],
        3: [(0, 8, 5, 15), (12, 13, 0, 1)],
        4: [(4, 9, 4, 6)],
        5: [(3, 5, 9, 19)],
    }.items():
        for top, bottom, left, right in boxes:
            masks[image, top:bottom, left:right] = True
    return rng.normal(size=masks.shape) + strength * masks, masks


@pytest.mark.parametrize("strength", [0.0, 1.0, 3.0])
def test_aupro_equals_its_definition(strength):
    maps, masks = planted(1, strength)
    histograms = PixelHistograms(bin_edges(maps))
    for map_, mask in zip(maps, masks, strict=True):
        histograms.add(map_, mask)
    value, low, high = histograms.aupro()
    assert value == pytest.approx(reference_aupro(maps, masks), abs=2e-3)
    assert low <= value <= high and high - low > 0.001


def test_every_region_counts_the_same_whatever_its_size():
    masks = np.zeros((2, 10, 10), bool)
    masks[0, :6, :6], masks[0, 9, 9] = True, True  # 36 pixels and 1
    found_large = np.where(masks, 0.0, 0.0)
    found_large[0, :6, :6] = 1
    histograms = PixelHistograms(bin_edges(found_large))
    for map_, mask in zip(found_large, masks, strict=True):
        histograms.add(map_, mask)
    # one of two regions is found without a false alarm, the other with all pixels only: 0.5 rising to 0.65 at 0.3
    assert histograms.aupro()[0] == pytest.approx(0.5 + 0.5 * 0.15, abs=1e-6)


def test_image_metrics_of_perfect_and_of_random_scores():
    anomalous = np.arange(60) % 3 == 0
    perfect = image_metrics(anomalous, anomalous + 0.0)
    assert all(value == (1.0, 1.0, 1.0) for value in perfect.values()) and list(perfect) == ["AUROC", "AUPR", "best F1"]
    value, low, high = image_metrics(anomalous, np.random.default_rng(0).normal(size=60))["AUROC"]
    assert low < 0.5 < high and low < value < high


def test_the_best_f1_is_that_of_its_threshold():
    rng = np.random.default_rng(3)
    anomalous = rng.random(80) < 0.4
    scores = rng.normal(size=80) + anomalous
    best = best_f1(anomalous, scores)
    called = scores >= best.threshold
    f1 = 2 * (called & anomalous).sum() / (called.sum() + anomalous.sum())
    every = [2 * ((scores >= t) & anomalous).sum() / ((scores >= t).sum() + anomalous.sum()) for t in scores]
    assert best.value == pytest.approx(f1) == pytest.approx(max(every))


def test_weighted_metrics_are_those_of_scikit_learn_also_with_equal_scores():
    rng = np.random.default_rng(5)
    anomalous, scores = rng.random(50) < 0.5, rng.integers(0, 12, 50).astype(float)
    weights = rng.integers(0, 3, (8, 50)).astype(float)
    found = weighted_metrics(anomalous, scores, weights)
    for row, given in enumerate(weights):
        assert found["AUROC"][row] == pytest.approx(roc_auc_score(anomalous, scores, sample_weight=given))
        assert found["AUPR"][row] == pytest.approx(average_precision_score(anomalous, scores, sample_weight=given))
