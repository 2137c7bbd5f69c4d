"""The pictures of the report: a run's masks, patch maps and nearest neighbours, on images of its data."""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from openjepa.data.crops import Frame, as_picture
from openjepa.data.dataset import ImageDataset, sample_order, without_labels
from openjepa.data.decoding.pixel_format import RGB, PixelFormat
from openjepa.data.named_images import indices_of
from openjepa.data.open import DataSource, open_dataset
from openjepa.data.summary import inspect_dataset
from openjepa.encoder.baselines import has_first_weights, untrained_like
from openjepa.encoder.encoder import Encoder
from openjepa.encoder.features import Crops
from openjepa.errors import UsageError
from openjepa.masking.coverage import cover, first_masks
from openjepa.masking.settings import MaskSettings
from openjepa.reports.anomaly.run_expectations import expectations_of
from openjepa.reports.chart_style import coverage_chart
from openjepa.reports.drawing import at_display_size, draw_masks, pca_maps
from openjepa.reports.neighbours import find_neighbours
from openjepa.rng import SAMPLES, generator
from openjepa.runs.folder import RunFolder

SEARCHED, SHOWN = 1024, 8
PAGE = re.compile(r"#\d+$")  # at the end of the name of an image that is one of several in its file


class Sample(NamedTuple):
    """Images, and the indices of those among them that the user asked for."""

    dataset: ImageDataset
    asked: list[int]


def sample_of(
    data: DataSource, seed: int, pixel_format: PixelFormat = RGB, asked: Sequence[str] = (), labels: bool = True
) -> Sample:
    """Up to 1,024 random images of a source, the same for a seed, after those `asked` for by name.

    Raises UsageError if none can be read, and for a name that is not that of one image.
    """
    dataset = open_dataset(data) if labels else without_labels(open_dataset(data))
    pages = pixel_format.pages == "images"
    first = indices_of(dataset, [PAGE.sub("", name) if pages else name for name in asked])
    names = [dataset.paths[index] for index in first]
    sample = _sampled(dataset, first, seed)
    if pixel_format != RGB:
        sample = inspect_dataset(sample, pixel_format=pixel_format)[0]
    if pages:  # each file has become its pages
        names = [_page_of(sample, file, name) for file, name in zip(names, asked, strict=True)]
        sample = _sampled(sample, indices_of(sample, names), seed)
    if not _first_images(sample, Frame((8, 8)))[1]:
        raise UsageError(f"none of the images tried in {data} can be read")
    return Sample(sample, indices_of(sample, names).tolist())


def _page_of(sample: ImageDataset, file: str, name: str) -> str:
    """The path of the page of a file that a name asks for, its first one where the name has no number."""
    if number := PAGE.search(name):
        return f"{file}{number[0]}"
    return file if file in sample.paths else f"{file}#0"


def _sampled(dataset: ImageDataset, first: np.ndarray, seed: int) -> ImageDataset:
    """Up to 1,024 random images of a dataset, after those whose indices come `first`."""
    order = sample_order(dataset, generator(seed, SAMPLES))
    first = np.array([*dict.fromkeys(first.tolist())], np.int64)  # each once
    chosen = np.concatenate([first, order[~np.isin(order, first)][:SEARCHED]])
    return dataset.subset(np.sort(chosen) if dataset.window else chosen)


def draw_pictures(run: RunFolder, sample: Sample | None) -> dict[str, Any]:
    """Coverage of the masks; masks on images where there are images; where there is an encoder, maps and neighbours.

    Where there is a predictor, too, what it expects.
    """
    config, encoder = run.config, run.encoder
    images, names = np.empty((0, *config.size, 3), np.uint8), list[str]()
    if sample:
        images, names = _first_images(sample.dataset, config.frame)
    shown = [as_picture(image) for image in images]
    pictures: dict[str, Any] = {"coverage": None, "maps": {}, "neighbours": [], "searched": 0, "names": names}
    pictures |= {"expected": expectations_of(run, images)}
    if run.masks:
        pictures |= _coverage(run, run.masks) | {"masks": _masks(run, run.masks, shown)}
    if sample and encoder:
        maps = {"trained": _maps(encoder, images)}
        maps |= {"untrained": _maps(untrained_like(encoder), images)} if has_first_weights(encoder) else {}
        found = find_neighbours(encoder, sample.dataset, config.readers, sample.asked)
        pictures |= {"maps": {"image": shown, **maps}, "neighbours": found.rows, "searched": found.searched}
    return pictures


def _first_images(sample: ImageDataset, frame: Frame) -> tuple[np.ndarray, list[str]]:
    """The first readable images, [n, H, W, C], n up to 8, and their paths."""
    images, kept, _ = Crops(sample, frame, 4 * SHOWN)[0]
    return images[:SHOWN].permute(0, 2, 3, 1).numpy(), [sample.paths[index] for index in kept[:SHOWN]]


def _coverage(run: RunFolder, masks: MaskSettings) -> dict[str, Any]:
    """How often each patch is context and target."""
    coverage = cover(masks, run.config.batch_size, run.config.seed)
    fractions = coverage.fractions
    return {
        "coverage": coverage_chart(fractions),
        "coverage_of": f"{run.config.grid_size[0]}x{run.config.grid_size[1]}",
        "coverage_images": coverage.images,
        "unused": {name: count for name, part in fractions.items() if (count := int((part == 0).sum()))},
    }


def _masks(run: RunFolder, settings: MaskSettings, images: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Masks of the first steps, drawn on an image each."""
    grid_size, masks = run.config.grid_size, first_masks(settings, len(images), run.config.batch_size, run.config.seed)
    return [
        draw_masks(at_display_size(image, grid_size), mask.context_ids, mask.target_ids, grid_size)
        for image, mask in zip(images, masks, strict=True)
    ]


def _maps(encoder: Encoder, images: np.ndarray) -> np.ndarray:
    tokens = encoder.tokens(torch.from_numpy(images).permute(0, 3, 1, 2))
    return pca_maps(tokens.unflatten(1, encoder.network.grid_size))
