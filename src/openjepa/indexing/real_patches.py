"""The patches of real images as a predictor of representations is compared with them: of an index, or of images."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from openjepa.anomaly.energy import PIXELS, Energies, as_targets
from openjepa.anomaly.nearest_patches import RealPatches
from openjepa.data.batches import in_order
from openjepa.data.crops import as_picture, resize_centre_crop, size_of
from openjepa.data.dataset import sample_order, without_labels
from openjepa.data.decoding.pixel_format import Pixels
from openjepa.data.open import DataSource, open_dataset
from openjepa.data.summary import inspect_dataset
from openjepa.data.workers import workers_for
from openjepa.encoder.encode import read_file
from openjepa.encoder.feature_cache import model_hash
from openjepa.encoder.features import Crops, Progress, Skipped, no_progress
from openjepa.errors import UsageError
from openjepa.files import file_hash
from openjepa.indexing.searchable import Searchable
from openjepa.indexing.store import AGAIN, holds_index
from openjepa.rng import SAMPLES, generator

BATCH = 32
BLOCK = 2**21  # numbers of tokens of an index that are read at a time


class Shown(NamedTuple):
    """An image by its path and its size (width, height), and what the model sees of it, uint8 [H, W, 3]."""

    path: str
    size: tuple[int, int]
    picture: np.ndarray


class PatchSource(Protocol):
    """Images by their numbers, and the targets of their patches."""

    skipped: Skipped
    available: int  # images, of which not all may be looked at

    def blocks(self, progress: Progress = no_progress) -> Iterator[RealPatches]:
        """The targets of all patches, without the image that was asked about and those that cannot be read."""

    def shown(self, number: int) -> Shown: ...


class Asked(NamedTuple):
    """The image that was asked about, as the model reads it, [C, H, W]."""

    image: Tensor
    shown: Shown


def read_asked(name: str, energies: Energies) -> Asked:
    """Raises UsageError for what cannot be read as an image."""
    return asked_of(name, read_file(name, energies.encoder.pixel_format), energies)


def asked_of(name: str, pixels: Pixels, energies: Energies) -> Asked:
    """An image of some name, by its pixels as the model reads them."""
    crop = np.array(resize_centre_crop(pixels, *energies.encoder.frame))
    shown = Shown(name, size_of(pixels), as_picture(crop))
    return Asked(torch.from_numpy(crop).permute(2, 0, 1).contiguous(), shown)


class ImagePatches:
    """At most so many images of a source, drawn by a seed; an image that is the same as `image` [C, H, W] is left out.

    Raises UsageError where the source cannot be opened.
    """

    def __init__(
        self, source: DataSource, energies: Energies, image: Tensor, most: int, seed: int, workers: int
    ) -> None:
        self.energies, self.image, self.workers = energies, image, workers
        whole = without_labels(open_dataset(source))
        chosen = sample_order(whole, generator(seed, SAMPLES))[:most]
        sample = whole.subset(np.sort(chosen))
        self.dataset, summary = inspect_dataset(sample, pixel_format=energies.encoder.pixel_format)
        self.skipped, self.available = [*summary.skipped], len(whole)

    def blocks(self, progress: Progress = no_progress) -> Iterator[RealPatches]:
        crops, workers = (
            Crops(self.dataset, self.energies.encoder.frame, BATCH),
            workers_for(self.dataset, self.workers),
        )
        for images, indices, bad in in_order(crops, range(len(crops)), workers):
            self.skipped += bad
            if len(images):
                targets = self.energies.targets(images)
                good = targets.isfinite().flatten(1).all(dim=1) & (images != self.image).flatten(1).any(dim=1)
                rows = good.nonzero().squeeze(1).tolist()
                numbers, places = [indices[row] for row in rows], torch.arange(targets.shape[1])
                yield RealPatches(targets[rows], numbers, places, images[rows])
            progress(indices[-1] + 1 if indices else 0, len(self.dataset))

    def shown(self, number: int) -> Shown:
        pixels = self.dataset.load(number)
        picture = as_picture(resize_centre_crop(pixels, *self.energies.encoder.frame))
        return Shown(self.dataset.paths[number], size_of(pixels), picture)


class IndexPatches:
    """The images of an index with patch tokens, without those of one content hash. Pictures are its thumbnails.

    Raises UsageError for an index without patch tokens, for one of another model, and for a damaged one.
    """

    def __init__(self, index: Searchable, energies: Energies, digest: str) -> None:
        self.index, self.digest, self.skipped = index, digest, Skipped()
        folder, about, model = index.folder, index.about, energies.encoder.name
        if energies.method == PIXELS:
            raise UsageError(
                f"the predictor of {model} foretells pixels, and an index holds none: give images to --from"
            )
        if model_hash(energies.encoder, arithmetic=False) != about.model_hash:
            raise UsageError(
                f"{folder} was made with another model, {about.model}: give an index of {model}, or images"
            )
        self.grid = index.regions.grid
        if ((self.grid.rows, self.grid.columns), self.grid.width) != (energies.grid_size, energies.target.embed_dim):
            raise UsageError(f"the patch tokens of {folder} are not those of {model}: {AGAIN}")
        self.available = len(self.index)

    def blocks(self, progress: Progress = no_progress) -> Iterator[RealPatches]:
        start, places = 0, torch.arange(self.grid.rows * self.grid.columns)
        for tokens, digests in self.index.regions.batches(max(1, BLOCK // self.grid.size)):
            good = [row for row, digest in enumerate(digests) if digest != self.digest]
            targets = as_targets(tokens[good] * self.grid.width**0.5)
            yield RealPatches(targets, [start + row for row in good], places)
            progress(start := start + len(digests), self.available)

    def shown(self, number: int) -> Shown:
        thumbnail = Image.fromarray(self.index.pictures_at([number])[0])
        picture = as_picture(resize_centre_crop(thumbnail, *self.grid.frame))
        return Shown(self.index.paths[number].as_py(), self.index.sizes_at([number])[0], picture)


def open_patches(
    source: DataSource, energies: Energies, asked: Asked, most: int, seed: int, workers: int
) -> PatchSource:
    """The patches of an index or of images, as they were named. Raises UsageError."""
    if isinstance(source, str) and Path(source).is_dir() and holds_index(Path(source)):
        return IndexPatches(Searchable(Path(source)), energies, file_hash(Path(asked.shown.path)))
    return ImagePatches(source, energies, asked.image, most, seed, workers)
