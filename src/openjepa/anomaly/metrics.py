"""How well scores tell anomalous images, and maps anomalous pixels, from normal ones."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.ndimage import label
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

REPEATS = 500  # of the bootstrap
MOST_FALSE = 0.3  # fraction of normal pixels up to which AUPRO is integrated
BINS = 2048
Interval = tuple[float, float, float]  # value, low and high at 95 %


class BestF1(NamedTuple):
    """The largest F1 of any threshold, and the lowest score that this threshold calls anomalous."""

    value: float
    threshold: float


def best_f1(anomalous: np.ndarray, scores: np.ndarray) -> BestF1:
    """The largest F1 of calling scores [m] from a threshold on anomalous; `anomalous` [m] are booleans."""
    precision, recall, thresholds = precision_recall_curve(anomalous, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    place = int(f1[:-1].argmax())
    return BestF1(float(f1[place]), float(thresholds[place]))


def image_metrics(anomalous: np.ndarray, scores: np.ndarray, seed: int = 0) -> dict[str, Interval]:
    """AUROC, AUPR and the best F1 of scores [m] with intervals; `anomalous` [m] has both values."""
    found = weighted_metrics(anomalous, scores, resample_counts(anomalous, seed))
    values = {
        "AUROC": roc_auc_score(anomalous, scores),
        "AUPR": average_precision_score(anomalous, scores),
        "best F1": best_f1(anomalous, scores).value,
    }
    return {name: (float(value), *percentiles(found[name])) for name, value in values.items()}


def weighted_metrics(anomalous: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """What scikit-learn's functions give for each row of weights [r, m], for all rows at once: [r] by name."""
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)  # of each run of equal scores
    right = np.cumsum(weights[:, order] * anomalous[order], axis=1)[:, last]
    wrong = np.cumsum(weights[:, order] * ~anomalous[order], axis=1)[:, last]
    recall, false = right / right[:, -1:], wrong / wrong[:, -1:]
    precision = right / np.maximum(right + wrong, 1e-300)
    start = np.zeros((len(weights), 1))
    steps = np.diff(recall, axis=1, prepend=start)
    return {
        "AUROC": np.trapezoid(np.hstack([start, recall]), np.hstack([start, false]), axis=1),
        "AUPR": (steps * precision).sum(axis=1),
        "best F1": (2 * precision * recall / np.maximum(precision + recall, 1e-300)).max(axis=1),
    }


def resample_counts(anomalous: np.ndarray, seed: int = 0, repeats: int = REPEATS) -> np.ndarray:
    """How often each image is drawn, [repeats, m]: with replacement, from normal and from anomalous images apart."""
    rng, counts = np.random.default_rng(seed % 2**64), np.zeros((repeats, len(anomalous)))
    for kind in (False, True):
        places = np.flatnonzero(anomalous == kind)
        for row in counts:
            row[places] = np.bincount(rng.integers(len(places), size=len(places)), minlength=len(places))
    return counts


def percentiles(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """The bounds of the central 95 %."""
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)


class PixelHistograms:
    """Scores of pixels by image: those of normal pixels, and those in anomalous regions, a region counting 1.

    `edges` [BINS + 1] rise and span all scores; scores in one bin are not told apart.
    """

    def __init__(self, edges: np.ndarray) -> None:
        self.edges = edges
        self.normal: list[np.ndarray] = []
        self.regions: list[np.ndarray] = []
        self.region_counts: list[int] = []

    def add(self, scores: np.ndarray, mask: np.ndarray) -> None:
        """An image: scores [H, W] and booleans [H, W] of what is anomalous; regions are connected by 8 neighbours."""
        bins = np.searchsorted(self.edges, scores, side="right") - 1
        bins = bins.clip(0, len(self.edges) - 2)
        regions, count = label(mask, structure=np.ones((3, 3)))
        sizes = np.bincount(regions.ravel(), minlength=count + 1)
        inside = mask.astype(bool)
        weights = 1 / sizes[regions[inside]]
        self.normal.append(np.bincount(bins[~inside], minlength=len(self.edges) - 1).astype(np.float64))
        self.regions.append(np.bincount(bins[inside], weights, minlength=len(self.edges) - 1))
        self.region_counts.append(count)

    def aupro(self, seed: int = 0) -> Interval:
        """`AUPRO` of all images, with its interval over images drawn with replacement."""
        normal, regions = np.stack(self.normal), np.stack(self.regions)
        anomalous = np.array(self.region_counts) > 0
        counts = resample_counts(anomalous, seed)
        values = [aupro(c @ normal, c @ regions) for c in counts]
        return aupro(normal.sum(0), regions.sum(0)), *percentiles(values)


def aupro(normal: np.ndarray, regions: np.ndarray, most_false: float = MOST_FALSE) -> float:
    """Area under the per-region overlap (Bergmann et al., IJCV 2021, section 6.1), 0 to 1.

    normal [k] and regions [k] are weights by score, rising. The mean fraction of a region that scores above a threshold
    is integrated over the fraction of normal pixels that do, from 0 to `most_false`, and divided by that.
    """
    false = np.concatenate([[0.0], np.cumsum(normal[::-1]) / normal.sum()])
    overlap = np.concatenate([[0.0], np.cumsum(regions[::-1]) / regions.sum()])
    at_most = np.interp(most_false, false, overlap)
    within = false < most_false
    x, y = np.append(false[within], most_false), np.append(overlap[within], at_most)
    return float(np.trapezoid(y, x) / most_false)


def bin_edges(maps: np.ndarray) -> np.ndarray:
    """Edges of bins for scores between the smallest and the largest of `maps`, finer where scores are many."""
    values = np.unique(maps)
    levels = np.concatenate([np.linspace(0, 0.7, BINS // 4, endpoint=False), np.linspace(0.7, 1, BINS * 3 // 4 + 1)])
    edges = np.unique(np.quantile(values, levels))
    return edges if len(edges) > 1 else np.array([values[0], np.nextafter(values[0], np.inf)])
