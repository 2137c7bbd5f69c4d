"""The pictures of the report: a run's masks, patch maps and nearest neighbours, on images of its data."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from openjepa.console import counting
from openjepa.data.crops import Frame
from openjepa.data.dataset import ImageDataset, sample_order
from openjepa.data.decoding.pixel_format import RGB, PixelFormat
from openjepa.data.open import open_dataset
from openjepa.data.summary import inspect_dataset
from openjepa.encoder.baselines import untrained_like
from openjepa.encoder.encoder import Encoder
from openjepa.encoder.features import Crops, compute_features
from openjepa.errors import UsageError
from openjepa.masking.coverage import cover, first_masks
from openjepa.masking.settings import MaskSettings
from openjepa.reports.chart_style import coverage_chart
from openjepa.reports.drawing import Tile, as_picture, at_display_size, draw_masks, nearest, pca_maps, tile_of
from openjepa.rng import SAMPLES, generator
from openjepa.runs.folder import RunFolder

SEARCHED, SHOWN, QUERIES, NEIGHBOURS = 1024, 8, 6, 6
THUMBNAIL = 112


def sample_of(data: str, seed: int, pixel_format: PixelFormat = RGB) -> ImageDataset:
    """Up to 1,024 random images of a source, the same for a seed; raises UsageError if none can be read."""
    dataset = open_dataset(data)
    sample = dataset.subset(sample_order(dataset, generator(seed, SAMPLES))[:SEARCHED])
    sample = sample if pixel_format == RGB else inspect_dataset(sample, pixel_format=pixel_format)[0]
    if not len(_first_images(sample, Frame((8, 8)))):
        raise UsageError(f"none of the images tried in {data} can be read")
    return sample


def draw_pictures(run: RunFolder, sample: ImageDataset | None) -> dict[str, Any]:
    """Coverage of the masks; masks on images where there are images; maps and neighbours where there is an encoder."""
    config, encoder = run.config, run.encoder
    images = _first_images(sample, config.frame) if sample else np.empty((0, *config.size, 3), np.uint8)
    shown = [as_picture(image) for image in images]
    pictures: dict[str, Any] = {"coverage": None, "maps": {}, "neighbours": [], "searched": 0}
    if run.masks:
        pictures |= _coverage(run, run.masks) | {"masks": _masks(run, run.masks, shown)}
    if sample and encoder:
        maps = {"trained": _maps(encoder, images), "untrained": _maps(untrained_like(encoder), images)}
        rows, searched = _neighbours(encoder, sample, config.workers)
        pictures |= {"maps": {"image": shown, **maps}, "neighbours": rows, "searched": searched}
    return pictures


def _first_images(sample: ImageDataset, frame: Frame) -> np.ndarray:
    """The first readable images, [n, H, W, C], n up to 8."""
    images, _, _ = Crops(sample, frame, 4 * SHOWN)[0]
    return images[:SHOWN].permute(0, 2, 3, 1).numpy()


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


def _neighbours(encoder: Encoder, sample: ImageDataset, workers: int) -> tuple[list[list[Tile]], int]:
    """Rows of a query and its nearest neighbours, and the number of images each query was compared with."""
    with counting("embedding images") as progress:
        vectors, kept, _ = compute_features(encoder, sample, workers, progress=progress)
    if len(kept) < 2:
        return [], 0
    found = nearest(vectors, range(min(QUERIES, len(kept))), min(NEIGHBOURS, len(kept) - 1))

    height, width = (max(1, round(side * min(1, THUMBNAIL / max(encoder.image_size)))) for side in encoder.image_size)

    def tile(i: int, cosine: str) -> Tile:
        return tile_of(sample, kept[i], (height, width), before=[cosine])

    rows = [
        [tile(query, ""), *(tile(i, f"{cosine:.3f}") for i, cosine in zip(ids, cosines, strict=True))]
        for query, (ids, cosines) in enumerate(zip(*(part.tolist() for part in found), strict=True))
    ]
    return rows, len(kept) - 1
