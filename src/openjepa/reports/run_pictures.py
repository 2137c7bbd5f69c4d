"""The pictures of the report: a run's masks, patch maps and neighbours on the user's own images."""

import numpy as np
import torch

from openjepa.console import counting
from openjepa.data.crops import resize_centre_crop
from openjepa.data.dataset import ImageDataset, sample_order
from openjepa.data.decoding.pixel_format import RGB, PixelFormat
from openjepa.data.open import open_dataset
from openjepa.data.summary import inspect_dataset
from openjepa.encoder.baselines import untrained_like
from openjepa.encoder.encoder import Encoder
from openjepa.encoder.features import Crops, compute_features
from openjepa.errors import UsageError
from openjepa.masking.statistics import cover, first_masks
from openjepa.reports import pictures as gallery
from openjepa.reports.html import Html
from openjepa.reports.pictures import as_picture, nearest, pca_maps
from openjepa.rng import SAMPLES, generator
from openjepa.runs.folder import RunFolder

SEARCHED, SHOWN, QUERIES, NEIGHBOURS = 1024, 8, 6, 6
THUMBNAIL = 112


def sample_of(data: str, seed: int, pixel_format: PixelFormat = RGB) -> ImageDataset:
    """Up to 1,024 images of a source at random, the same for a seed; raises UsageError if there is none to read."""
    dataset = open_dataset(data)
    bank = dataset.subset(sample_order(dataset, generator(seed, SAMPLES))[:SEARCHED])
    bank = bank if pixel_format == RGB else inspect_dataset(bank, pixel_format=pixel_format)[0]
    if not len(_shown(bank, (8, 8))):
        raise UsageError(f"none of the images tried in {data} can be read")
    return bank


def picture_sections(run: RunFolder, bank: ImageDataset | None) -> list[Html]:
    """Masks and coverage always, drawn on images where there are any; maps and neighbours once there is an encoder."""
    config, settings = run.config, run.masks
    images = _shown(bank, config.size) if bank else []
    pictures = [as_picture(image) for image in images]
    drawn = first_masks(settings, len(images), config.batch_size, config.seed)
    sections = [gallery.masks(pictures, drawn, cover(settings, config.batch_size, config.seed))]
    if bank and run.encoder:
        encoders = run.encoder, untrained_like(run.encoder)
        sections.append(gallery.maps(pictures, *(_maps(encoder, images) for encoder in encoders)))
        sections += _neighbours(run.encoder, bank, config.workers)
    return sections


def _shown(bank: ImageDataset, size: tuple[int, int]) -> np.ndarray:
    """The first readable images, [n, H, W, C], n up to 8."""
    images, _, _ = Crops(bank, size, 4 * SHOWN)[0]
    return images[:SHOWN].permute(0, 2, 3, 1).numpy()


def _maps(encoder: Encoder, images: np.ndarray) -> np.ndarray:
    tokens = encoder.tokens(torch.from_numpy(images).permute(0, 3, 1, 2))
    return pca_maps(tokens.unflatten(1, encoder.network.grid_size))


def _neighbours(encoder: Encoder, bank: ImageDataset, workers: int) -> list[Html]:
    with counting("embedding images") as progress:
        vectors, kept, _ = compute_features(encoder, bank, workers, progress=progress)
    if len(kept) < 2:
        return []
    found = nearest(vectors, range(min(QUERIES, len(kept))), min(NEIGHBOURS, len(kept) - 1))

    def tile(i: int, words: str) -> gallery.Tile:
        return _tile(bank, kept[i], encoder.image_size, words)

    rows = [
        [tile(query, ""), *(tile(i, f"{cosine:.3f}") for i, cosine in zip(ids, cosines, strict=True))]
        for query, (ids, cosines) in enumerate(zip(*(part.tolist() for part in found), strict=True))
    ]
    return [gallery.neighbours(rows, len(kept) - 1)]


def _tile(bank: ImageDataset, index: int, image_size: tuple[int, int], words: str) -> gallery.Tile:
    shrink = min(1, THUMBNAIL / max(image_size))
    image = resize_centre_crop(bank.load(index), tuple(max(1, round(side * shrink)) for side in image_size))
    named = [names[bank.labels[label][index]] for label, names in bank.classes.items()][:1]
    return gallery.Tile(as_picture(image), bank.paths[index], (words, *named))
