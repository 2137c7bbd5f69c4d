"""The images of an index, and those that were sent, as its model reads them."""

import hashlib
import threading

import numpy as np
import torch
from torch import Tensor

from openjepa.data.crops import resize_centre_crop
from openjepa.data.dataset import ImageDataset
from openjepa.data.decoding.pixel_format import RGB, Pixels
from openjepa.encoder.encode import read_bytes
from openjepa.encoder.features import Model, read_by
from openjepa.errors import BadImage, UsageError
from openjepa.exploring.originals import open_source
from openjepa.indexing.searchable import Searchable

Given = int | bytes  # an image of the index by its place, or a file that was sent
SENT = "the picture"


class ModelImages:
    """Images for the model of an index; its source is opened when the first of them is asked for."""

    def __init__(self, index: Searchable) -> None:
        self.index = index
        self._opening = threading.Lock()
        self._opened: tuple[ImageDataset, dict[str, int]] | None = None

    @property
    def model(self) -> Model:
        """Raises UsageError where it cannot be opened."""
        with self._opening:
            return self.index.model

    def source(self) -> tuple[ImageDataset, dict[str, int]]:
        """The images of the source, and the place of each by its path. Raises UsageError."""
        model = self.model
        with self._opening:
            if self._opened is None:
                dataset = read_by(model, open_source(self.index.about.source))
                self._opened = dataset, {path: place for place, path in enumerate(dataset.paths)}
            return self._opened

    def name(self, image: Given) -> str:
        return self.index.paths[image].as_py() if isinstance(image, int) else SENT

    def digest(self, image: Given) -> str:
        """The content hash of an image."""
        if isinstance(image, bytes):
            return hashlib.sha256(image).hexdigest()
        return self.index.rows_at([image], ["content_hash"])["content_hash"][0].as_py() or ""

    def pixels(self, image: Given) -> Pixels:
        """An image as the model reads it. Raises UsageError."""
        if isinstance(image, bytes):
            return read_bytes(image, self.model.pixel_format or RGB)
        dataset, places = self.source()
        path = self.name(image)
        if path not in places:
            raise UsageError(f"{path} is not in {self.index.about.source} any more: bring the index up to date")
        try:
            return dataset.load(places[path])
        except BadImage as error:
            raise UsageError(f"{path} cannot be read as an image ({error})") from error

    def crop(self, image: Given) -> Tensor:
        """What the model sees of an image, [1, C, H, W]. Raises UsageError."""
        crop = np.array(resize_centre_crop(self.pixels(image), *self.model.frame))
        return torch.from_numpy(crop).permute(2, 0, 1).contiguous()[None]
