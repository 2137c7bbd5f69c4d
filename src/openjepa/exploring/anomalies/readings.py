"""The patch features of the images of an index: its patch tokens, or of the images by its model."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from torch import Tensor

from openjepa.anomaly.fitting.suspects import Batch
from openjepa.anomaly.patches import WIDEST, PatchFeatures, PatchSettings, check_patch_model, most_layers, orthogonal
from openjepa.data.crops import Frame
from openjepa.encoder.features import only_finite, stream_features
from openjepa.exploring.anomalies.images import Given, ModelImages
from openjepa.indexing.searchable import Searchable

BATCH, LAYERS = 16, 2
BLOCK = 2**21  # numbers of stored tokens in a batch


class Readings(Protocol):
    """Features [b, N, D] of the patches of images.

    what  in words, what is read
    """

    what: str
    grid_size: tuple[int, int]
    frame: Frame

    def read(self, places: np.ndarray) -> Iterator[Batch]:
        """Of the images at sorted places of the index, without those that cannot be read. Raises UsageError."""
        ...

    def one(self, image: Given) -> Tensor:
        """Of an image by itself, [1, N, D]. Raises UsageError."""
        ...


def readings_of(images: ModelImages) -> Readings:
    """The patch tokens of an index that has them, else the images read by the model. Raises UsageError."""
    return StoredReadings(images.index) if images.index.has_patches else ModelReadings(images)


class StoredReadings:
    """The patch tokens that an index keeps: directions, which is what a memory compares."""

    what = "the patch tokens of the index"

    def __init__(self, index: Searchable) -> None:
        self.index, self.grid = index, index.regions.grid
        self.grid_size, self.frame = (self.grid.rows, self.grid.columns), self.grid.frame
        self.projection = orthogonal(self.grid.width, WIDEST) if self.grid.width > WIDEST else None

    def read(self, places: np.ndarray) -> Iterator[Batch]:
        most = max(1, BLOCK // self.grid.size)
        for part in np.split(places, range(most, len(places), most)):
            yield Batch(self._narrowed(self.index.regions.stored(part)), part.tolist())

    def one(self, image: Given) -> Tensor:
        return self._narrowed(self.index.tokens_of(image)[2][None])

    def _narrowed(self, tokens: Tensor) -> Tensor:
        return tokens if self.projection is None else tokens @ self.projection


class ModelReadings:
    """Images read by the model: the features of its last two blocks. Raises UsageError for one without patch tokens."""

    what = "the images"

    def __init__(self, images: ModelImages) -> None:
        self.images, self.model = images, check_patch_model(images.model)
        self.grid_size, self.frame = self.model.grid_size, self.model.frame
        self.features = PatchFeatures(self.model, PatchSettings(layers=most_layers(self.model, LAYERS)))

    def read(self, places: np.ndarray) -> Iterator[Batch]:
        dataset, known = self.images.source()
        found = [(known[path], place) for place in places.tolist() if (path := self.images.name(place)) in known]
        rows, kept = [row for row, _ in found], [place for _, place in found]
        part = dataset.subset(np.array(rows, np.int64))
        chunks = stream_features(self.features, self.frame, part, workers=0, batch_size=BATCH)
        for features, indices, _ in only_finite(chunks, self.model, part):
            if indices:
                yield Batch(features, [kept[index] for index in indices])

    def one(self, image: Given) -> Tensor:
        return self.features(self.images.crop(image))
