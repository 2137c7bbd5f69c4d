"""The page of a detector on images: numbers, the distribution of scores, and the images that tell most."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from openjepa.anomaly.detector import Detector
from openjepa.anomaly.evaluate import enlarged, tables_of
from openjepa.anomaly.labelled import Labelled
from openjepa.data.crops import resize_centre_crop, size_of
from openjepa.data.dataset import ImageDataset
from openjepa.encoder.features import read_by
from openjepa.reports.anomaly.pictures import heat
from openjepa.reports.chart_style import INK, PIXELS, UNTRAINED, styled
from openjepa.reports.drawing import PALETTE, Tile, as_picture, elided, file_name, outline
from openjepa.reports.html import render

SHOWN = 8  # images of a kind
LEAST_SIDE = 160  # pixels; smaller pictures are enlarged
BINS = 50


class Found(NamedTuple):
    """Images that were scored: a dataset of them alone, their scores [m, 1 + K], and what is known of them."""

    dataset: ImageDataset
    scores: Tensor
    labelled: Labelled | None = None


class Pictures(NamedTuple):
    title: str
    sentence: str
    tiles: list[Tile]


def anomaly_page(detector: Detector, found: Found, records: Sequence[dict] = ()) -> str:
    """A whole HTML document; `records` are those of `evaluate_scores`, where the images are labelled."""
    threshold = detector.calibration.threshold
    return render(
        "anomaly.html",
        title=found.dataset.source,
        detector=detector.name,
        lines=detector.lines(),
        tables=tables_of(records) if records else [],
        chart=distribution(found, threshold.value if threshold else None),
        labelled=found.labelled is not None,
        pictures=[part for part in _pictures(detector, found) if part.tiles],
    )


def _pictures(detector: Detector, found: Found) -> Iterator[Pictures]:
    """The images to show: the oddest, and where labels are known the misses and false alarms."""
    scores = found.scores[:, 0].double().numpy()
    falling = np.argsort(-scores, kind="stable")
    if found.labelled is None:
        yield Pictures("The oddest", "The images with the highest scores.", _tiles(detector, found, falling[:SHOWN]))
        rest = falling[SHOWN:][::-1][:SHOWN]
        yield Pictures("The least odd", "The images with the lowest scores.", _tiles(detector, found, rest))
        return
    odd = found.labelled.anomalous
    anomalous, normal = falling[odd[falling]], falling[~odd[falling]]
    shown = _tiles(detector, found, anomalous[:SHOWN])
    yield Pictures("Found best", "Anomalous images with the highest scores.", shown)
    rest = anomalous[SHOWN:][::-1][:SHOWN]
    sentence = "Anomalous images with the lowest scores: what is most easily missed."
    yield Pictures("Misses", sentence, _tiles(detector, found, rest))
    sentence = "Normal images with the highest scores: what would raise an alarm first."
    yield Pictures("False alarms", sentence, _tiles(detector, found, normal[:SHOWN]))


def _tiles(detector: Detector, found: Found, chosen: np.ndarray) -> list[Tile]:
    return [_tile(detector, found, int(index)) for index in chosen]


def _tile(detector: Detector, found: Found, index: int) -> Tile:
    """What the model sees of an image, its defect outlined where a mask is known, beside its map."""
    path, image = found.dataset.paths[index], read_by(detector, found.dataset).load(index)
    seen = resize_centre_crop(image, *detector.frame)
    pixels = torch.from_numpy(seen.copy()).permute(2, 0, 1)[None]
    map_ = enlarged(detector.score(pixels).maps[0], detector).numpy()
    picture, hot = as_picture(seen), heat(as_picture(seen), map_)
    masks = found.labelled.masks if found.labelled else None
    if masks and path in masks.places:
        picture = picture.copy()
        picture[outline(masks.seen(path, size_of(image), detector.frame), 1)] = PALETTE[0]
    gap = np.full((len(picture), 4, 3), 255, np.uint8)
    both = np.concatenate([picture, gap, hot], axis=1)
    factor = max(1, round(LEAST_SIDE / len(both)))
    score = f"score {float(found.scores[index, 0]):z.2f}"
    lines = [file_name(path), *([found.labelled.kinds[index]] if found.labelled else []), score]
    return Tile(
        both.repeat(factor, axis=0).repeat(factor, axis=1), path, tuple((elided(line, 30), line) for line in lines)
    )


@styled
def distribution(found: Found, threshold: float | None) -> Figure:
    """Histograms of the scores of normal and of anomalous images, or of all; a line at the threshold."""
    scores = found.scores[:, 0].double().numpy()
    figure = Figure((7.4, 2.6), layout="constrained")
    axes: Axes = figure.add_subplot()
    low, high = np.quantile(scores, (0, 0.99))
    edges = np.linspace(low, max(high, low + 1e-6), BINS + 1)
    kinds = {"all images": np.ones(len(scores), bool)}
    if found.labelled is not None:
        kinds = {"normal": ~found.labelled.anomalous, "anomalous": found.labelled.anomalous}
    for (name, chosen), colour in zip(kinds.items(), (PIXELS, UNTRAINED), strict=False):
        axes.hist(scores[chosen].clip(low, edges[-1]), edges.tolist(), color=colour, alpha=0.7, label=name)
    if threshold is not None:
        axes.axvline(threshold, color=INK, linewidth=1, label="threshold")
    axes.set_xlabel("score, in standard deviations above the mean of normal images")
    axes.set_ylabel("images")
    axes.legend()
    return figure
