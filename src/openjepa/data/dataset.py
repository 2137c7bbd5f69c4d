"""What the rest of openjepa knows of images: `ImageDataset`; and the one that reads files."""

import io
from collections.abc import Sequence
from typing import BinaryIO, Protocol

import numpy as np
from PIL import Image

from openjepa.data.decode import bad_image_on_error, decode
from openjepa.data.names import Names
from openjepa.data.storage import Skipped, Storage
from openjepa.errors import BadImage

MAX_BYTES = 1 << 30


class ImageDataset(Protocol):
    """A fixed sequence of n images, read by index.

    source   as the user named it
    paths    n names relative to the source, sorted, valid UTF-8 (unless drawn: then sorted by index)
    labels   int64 [n] by name of the label; {} without labels
    classes  the names of the label values, same keys as `labels`
    """

    source: str
    paths: Sequence[str]
    labels: dict[str, np.ndarray]
    classes: dict[str, list[str]]

    def __len__(self) -> int: ...

    def load(self, index: int) -> Image.Image:
        """Mode "RGB", upright. Raises BadImage."""
        ...

    def subset(self, indices: Sequence[int] | np.ndarray) -> "ImageDataset":
        """The images at `indices`, in that order, with the same `classes`."""
        ...


def window_of(dataset: ImageDataset) -> int:
    """How many images can be held at once of what can only be streamed; 0 where any can be read at any time."""
    return getattr(dataset, "window", 0)


def sample_order(dataset: ImageDataset, rng: np.random.Generator) -> np.ndarray:
    """The indices [n] in the order in which to draw a sample: random, or from the first on where they are streamed."""
    return np.arange(len(dataset)) if window_of(dataset) else rng.permutation(len(dataset))


class ImageFiles:
    """An ImageDataset of encoded images in a storage. Can be pickled, and used after a fork.

    rows     int64 [n], the numbers that the storage knows the images by; all in order unless given
    skipped  (path, reason) of what lies in the source and is no candidate
    """

    def __init__(
        self,
        source: str,
        storage: Storage,
        paths: Names,
        labels: dict[str, np.ndarray] | None = None,
        classes: dict[str, list[str]] | None = None,
        skipped: Skipped | None = None,
        rows: np.ndarray | None = None,
    ) -> None:
        self.source, self.labels, self.classes, self.skipped = source, labels or {}, classes or {}, skipped or []
        self.paths, self._storage = paths, storage
        self._rows = np.arange(len(paths)) if rows is None else rows

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def window(self) -> int:
        """0: images can be read in any order; else only so many at once, from the first to the last."""
        return self._storage.window

    def load(self, index: int) -> Image.Image:
        return decode(io.BytesIO(self.read(index)))

    def read(self, index: int) -> bytes:
        """The whole file. Raises BadImage."""
        with bad_image_on_error(), self.open(index) as stream:
            return stream.read()

    def open(self, index: int) -> BinaryIO:
        """The file, open at its start; the caller closes it. Raises BadImage, also above 1 GiB."""
        with bad_image_on_error():
            size = self.stamp(index)[0]
            if size > MAX_BYTES:
                raise BadImage(f"file larger than {MAX_BYTES:,} bytes ({size:,})")
            return self._storage.open(self._rows[index])

    def stamp(self, index: int) -> tuple[int, ...]:
        """Cheap to read, the size in bytes first; equal for files of equal content. Raises BadImage."""
        with bad_image_on_error():
            return self._storage.stamp(self._rows[index])

    def subset(self, indices: Sequence[int] | np.ndarray) -> "ImageFiles":
        chosen = np.arange(len(self))[np.asarray(indices)]
        labels = {key: values[chosen] for key, values in self.labels.items()}
        paths, rows = self.paths.take(chosen), self._rows[chosen]
        return ImageFiles(self.source, self._storage, paths, labels, self.classes, self.skipped, rows)
