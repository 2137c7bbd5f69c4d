"""How well a detector tells anomalous images and pixels from normal ones, of all defects and of each kind."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from openjepa.anomaly.detector import COMBINED, Detector
from openjepa.anomaly.labelled import Labelled
from openjepa.anomaly.metrics import Interval, PixelHistograms, best_f1, bin_edges, image_metrics
from openjepa.console import NONE
from openjepa.data.crops import size_of
from openjepa.errors import BadImage
from openjepa.evaluation.intervals import accuracy_interval

ALL = "all"  # the kind of a record on all defects
COLUMNS = (
    *("score", "kind", "metric", "value", "low", "high", "normal_images", "anomalous_images", "threshold", "asked"),
)  # of a table of records; the last two are of some alone


def evaluate_scores(detector: Detector, labelled: Labelled, scores: Tensor, maps: Tensor, seed: int = 0) -> list[dict]:
    """Records of scores [m, 1 + K] and maps [m, N] of labelled images: AUROC, AUPR, best F1, and AUPRO with masks.

    On each kind of defect the normal images are those of all. A detector with a threshold has its rates too.
    """
    records: list[dict] = []
    anomalous, columns = labelled.anomalous, scores.double().numpy()
    kinds = sorted({kind for kind, odd in zip(labelled.kinds, anomalous, strict=True) if odd})
    for kind in [ALL, *(kinds if len(kinds) > 1 else [])]:
        chosen = np.flatnonzero(
            [not odd or kind in (ALL, of) for of, odd in zip(labelled.kinds, anomalous, strict=True)]
        )
        about = {
            "kind": kind,
            "normal_images": int((~anomalous).sum()),
            "anomalous_images": int(anomalous[chosen].sum()),
        }
        names = detector.names if kind == ALL else [COMBINED]
        for column, name in enumerate(names):
            found = image_metrics(anomalous[chosen], columns[chosen, column], seed)
            records += [_record(name, metric, value, about) for metric, value in found.items()]
            if column == 0:
                records[-1]["threshold"] = best_f1(anomalous[chosen], columns[chosen, 0]).threshold
        if labelled.masks:
            part, on = labelled.subset(chosen), maps[torch.from_numpy(chosen)]
            if (found_regions := region_histograms(detector, part, on)) is not None:
                records.append(_record(COMBINED, "AUPRO", found_regions.aupro(seed), about))
        records += _rates(detector, anomalous[chosen], columns[chosen, 0], about)
    return records


def _record(score: str, metric: str, interval: Interval, about: dict[str, Any]) -> dict[str, Any]:
    value, low, high = interval
    return {"score": score, "metric": metric, "value": value, "low": low, "high": high, **about}


def _rates(detector: Detector, anomalous: np.ndarray, scores: np.ndarray, about: dict[str, Any]) -> list[dict]:
    """Which fractions of normal and of anomalous images score above the detector's threshold, if it has one."""
    threshold = detector.calibration.threshold
    if threshold is None:
        return []
    above = scores > threshold.value
    false, found = accuracy_interval(above[~anomalous]), accuracy_interval(above[anomalous])
    asked = about | {"asked": threshold.rate}
    alarms = [_record(COMBINED, "false alarms", false, asked)] if about["kind"] == ALL else []
    return [*alarms, _record(COMBINED, "found", found, asked)]


def region_histograms(detector: Detector, labelled: Labelled, maps: Tensor) -> PixelHistograms | None:
    """The scores of pixels by what masks say of them; None where no image has a region."""
    assert labelled.masks
    histograms = PixelHistograms(bin_edges(maps.numpy()))
    for index, path in enumerate(labelled.dataset.paths):
        known = path in labelled.masks.places
        if labelled.anomalous[index] and not known:
            continue  # where its defect is, is not known
        mask = np.zeros(detector.image_size, bool)
        if known:
            mask = labelled.masks.seen(path, _size(labelled, index), detector.frame)
        histograms.add(enlarged(maps[index], detector).numpy(), mask)
    return histograms if any(histograms.region_counts) and not all(histograms.region_counts) else None


def _size(labelled: Labelled, index: int) -> tuple[int, int]:
    """(width, height) of an image that was read before."""
    try:
        return size_of(labelled.dataset.load(index))
    except BadImage as error:
        raise RuntimeError(f"{labelled.dataset.paths[index]} changed while it was measured: {error}") from error


def enlarged(map_: Tensor, detector: Detector) -> Tensor:
    """A map [N] at the size of what the model sees, [H, W], by bilinear interpolation."""
    rows = map_.view(1, 1, *detector.grid_size)
    return F.interpolate(rows, size=detector.image_size, mode="bilinear", align_corners=False)[0, 0]


def tables_of(records: Sequence[dict]) -> list[tuple[list[str], list[list[str]]]]:
    """Heads and rows of tables in percent: a row a metric and a column a score and, of several kinds, a row a kind."""
    whole = [record for record in records if record["kind"] == ALL]
    kinds = [record for record in records if record["kind"] != ALL]
    return [_table("", whole, "metric", "score"), *([_table("kind", kinds, "kind", "metric")] if kinds else [])]


def _table(corner: str, records: Sequence[dict], down: str, across: str) -> tuple[list[str], list[list[str]]]:
    """The records by their values of two keys, which name the rows and the columns."""
    cells = {(record[down], record[across]): _cell(record) for record in records}
    names = list(dict.fromkeys(name for _, name in cells))
    rows = [[row, *(cells.get((row, name), NONE) for name in names)] for row in dict.fromkeys(row for row, _ in cells)]
    return [corner, *names], rows


def _cell(record: dict) -> str:
    value, low, high = (100 * record[key] for key in ("value", "low", "high"))
    return f"{value:.1f} ({low:.1f}–{high:.1f})"
