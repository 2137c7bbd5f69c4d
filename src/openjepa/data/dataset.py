"""What the rest of openjepa knows of images: `ImageDataset`; and the one that reads files."""

import copy
import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import IO, Protocol, runtime_checkable

import numpy as np

from openjepa.data.decoding.kept_open import KeptOpen
from openjepa.data.decoding.pillow import bad_image_on_error
from openjepa.data.decoding.pixel_format import RGB, Header, PixelFormat, Pixels, as_pixels, disagreement
from openjepa.data.decoding.read import read_pixels, read_tiff_page
from openjepa.data.storage.names import Names
from openjepa.data.storage.storage import Skipped, Storage, Versioned
from openjepa.errors import BadImage, UsageError
from openjepa.safety.limits import MAX_FILE_BYTES

UNLABELLED = -1  # the value of a label of an image that lacks it


@dataclass(frozen=True)
class Columns:
    """Columns beside n images that are numbers, or whose cells name any number of classes.

    numbers    float64 [n] by name, NaN where an image lacks it
    tags       int8 [n, C] by name: 1 for the classes that a cell names, 0 for others, -1 where an image has no cell
    tag_names  the C classes, same keys as `tags`
    """

    numbers: dict[str, np.ndarray] = field(default_factory=dict)
    tags: dict[str, np.ndarray] = field(default_factory=dict)
    tag_names: dict[str, list[str]] = field(default_factory=dict)

    def rows(self, chosen: Sequence[int] | np.ndarray) -> "Columns":
        numbers, tags = ({name: values[chosen] for name, values in kind.items()} for kind in (self.numbers, self.tags))
        return Columns(numbers, tags, self.tag_names)


@runtime_checkable
class ImageDataset(Protocol):
    """A fixed sequence of n images, read by index.

    source   as the user named it
    paths    n names relative to the source, sorted, valid UTF-8 (unless drawn: then sorted by index)
    labels   int64 [n] by name of the label, UNLABELLED (-1) where an image lacks it; {} without labels
    classes  the names of the label values, same keys as `labels`
    columns  what else is known of the images, which no classes of one label tell
    pixel_format  how `load` gives them
    window   0 if images can be read in any order; else how many can be held at once, read from the first to the last

    identity  what beside the names recognises the images of a dataset whose names are only numbers

    A class that names this one as its base gets the defaults.
    """

    pixel_format: PixelFormat = RGB
    window: int = 0
    identity: str = ""
    columns: Columns = Columns()
    source: str
    paths: Sequence[str]
    labels: dict[str, np.ndarray]
    classes: dict[str, list[str]]

    def __len__(self) -> int: ...

    def __str__(self) -> str:
        return self.source

    def load(self, index: int) -> Pixels:
        """Upright: a PIL image, or an array [H, W, C] of uint8 or float32. Raises BadImage."""
        ...

    def subset(self, indices: Sequence[int] | np.ndarray) -> "ImageDataset":
        """The images at `indices`, in that order, with the same `classes`."""
        ...


def fingerprint(dataset: ImageDataset) -> str:
    """A hash of the names of the images in their order, by which a run or a copy recognises its data."""
    found = hashlib.sha256(dataset.identity.encode())
    for place, name in enumerate(dataset.paths):
        found.update((b"\n" if place else b"") + name.encode("utf-8", "surrogateescape"))
    return found.hexdigest()


def sample_order(dataset: ImageDataset, rng: np.random.Generator) -> np.ndarray:
    """The indices [n] in the order in which to draw a sample: random, or from the first on where they are streamed."""
    return np.arange(len(dataset)) if dataset.window else rng.permutation(len(dataset))


class ImageFiles(ImageDataset):
    """An ImageDataset of encoded images in a storage. Can be pickled, and used after a fork.

    rows     int64 [n], the numbers that the storage knows the images by; all in order unless given
    skipped  (path, reason) of what lies in the source and is no candidate
    pages    int64 [n], which image of its file each is
    """

    def __init__(
        self,
        source: str,
        storage: Storage,
        paths: Names,
        labels: dict[str, np.ndarray] | None = None,
        classes: dict[str, list[str]] | None = None,
        columns: Columns | None = None,
        skipped: Skipped | None = None,
        rows: np.ndarray | None = None,
        identity: str = "",
    ) -> None:
        self.source, self.labels, self.classes, self.skipped = source, labels or {}, classes or {}, skipped or []
        self.paths, self._storage, self.window, self.identity = paths, storage, storage.window, identity
        self.columns = columns or Columns()
        self._rows = np.arange(len(paths)) if rows is None else rows
        self.pages = np.zeros(len(paths), np.int64)
        self._starts = np.zeros(len(paths), np.int64)
        self._kept_open = KeptOpen()
        self._last: tuple[int, bytes] | None = None  # the file of several pages whose digest was asked for last

    def __len__(self) -> int:
        return len(self._rows)

    def load(self, index: int) -> Pixels:
        if not self._starts[index]:
            return self.decode(index, self.read(index))
        kept = self._kept_open.get(int(self._rows[index]), lambda: self.open(index))
        return read_tiff_page(kept.stream, self.pixel_format, int(self._starts[index]))

    def decode(self, index: int, data: bytes, times: Callable[[int, int], int] | None = None) -> Pixels:
        """The image of a file that was read; a JPEG `times(width, height)` smaller. Raises BadImage."""
        return read_pixels(io.BytesIO(data), self.pixel_format, int(self.pages[index]), times)

    def read(self, index: int) -> bytes:
        """The whole file. Raises BadImage."""
        with bad_image_on_error(), self.open(index) as stream:
            return stream.read()

    def digest(self, index: int) -> bytes:
        """SHA-256 of the file, and of the number of the image in it where it is not the first. Raises BadImage.

        A file of several images is read once where those are asked for one after another.
        """
        row, page = int(self._rows[index]), int(self.pages[index])
        if not page or self._last is None or self._last[0] != row:
            self._last = row, hashlib.sha256(self.read(index)).digest()
        content = self._last[1]
        return hashlib.sha256(content + f"#{page}".encode()).digest() if page else content

    def version(self, index: int) -> str | None:
        """A text that is another one after the image has changed; None where only reading it tells."""
        if not isinstance(self._storage, Versioned):
            return None
        try:
            version = self._storage.version(int(self._rows[index]))
        except (OSError, UsageError):
            return None
        return version and f"{version}\0{self.pages[index]}"

    def open(self, index: int) -> IO[bytes]:
        """The file, open at its start; the caller closes it. Raises BadImage, also for one that is too large."""
        with bad_image_on_error():
            size = self.stamp(index)[0]
            if size > (most := MAX_FILE_BYTES.get()):
                raise BadImage(f"file larger than {most:,} bytes ({size:,})")
            return self._storage.open(self._rows[index])

    def stamp(self, index: int) -> tuple[int, ...]:
        """Cheap to read, the size in bytes first; equal for files of equal content. Raises BadImage."""
        with bad_image_on_error():
            return self._storage.stamp(self._rows[index])

    def subset(self, indices: Sequence[int] | np.ndarray) -> "ImageFiles":
        chosen, part = np.arange(len(self))[np.asarray(indices)], copy.copy(self)
        part._rows, part.paths = self._rows[chosen], self.paths.take(chosen)
        part.pages, part._starts = self.pages[chosen], self._starts[chosen]
        part.labels = {key: values[chosen] for key, values in self.labels.items()}
        part.columns = self.columns.rows(chosen)
        return part

    def read_as(self, pixel_format: PixelFormat) -> "ImageFiles":
        """The same files with another `pixel_format`, whether they allow it or not."""
        files = copy.copy(self)
        files.pixel_format = pixel_format
        return files

    def split_pages(self, headers: Sequence[Header]) -> "ImageFiles":
        """Every page an image of its own, by the `headers` [n] of the files; their paths end in #0, #1 and so on."""
        counts = [header.pages for header in headers]
        whole = self.subset(np.repeat(np.arange(len(self)), counts))
        whole.pages = np.concatenate([np.arange(count) for count in counts])
        whole._starts = np.concatenate([header.starts or np.zeros(header.pages, np.int64) for header in headers])
        several = np.repeat(counts, counts) > 1
        numbered = zip(whole.paths, whole.pages, several, strict=True)
        whole.paths = Names.of(f"{path}#{page}" if many else path for path, page, many in numbered)
        return whole


class _ReadAs(ImageDataset):
    """An ImageDataset, of what is no file, read in another way than its own, or without its labels."""

    def __init__(self, dataset: ImageDataset, pixel_format: PixelFormat, labels: bool = True) -> None:
        self._dataset, self.pixel_format, self._labelled = dataset, pixel_format, labels
        self.source, self.paths = dataset.source, dataset.paths
        self.labels, self.classes = (dataset.labels, dataset.classes) if labels else ({}, {})
        self.window, self.identity, self.columns = dataset.window, dataset.identity, dataset.columns

    def __len__(self) -> int:
        return len(self._dataset)

    def load(self, index: int) -> Pixels:
        return as_pixels(self._dataset.load(index), self.pixel_format)

    def subset(self, indices: Sequence[int] | np.ndarray) -> "_ReadAs":
        return _ReadAs(self._dataset.subset(indices), self.pixel_format, self._labelled)


def without_labels(dataset: ImageDataset) -> ImageDataset:
    """The same images without their labels."""
    if not isinstance(dataset, ImageFiles):
        return _ReadAs(dataset, dataset.pixel_format, labels=False)
    bare = copy.copy(dataset)
    bare.labels, bare.classes = {}, {}
    return bare


def read_as(dataset: ImageDataset, pixel_format: PixelFormat) -> ImageDataset:
    """The same images, read in another way; raises UsageError where their channels do not allow it."""
    have, want = dataset.pixel_format.channels, pixel_format.channels
    if have != want and {have, want} != {1, 3}:
        raise UsageError(disagreement(dataset.source, str(have), want))
    if dataset.pixel_format == pixel_format:
        return dataset
    return dataset.read_as(pixel_format) if isinstance(dataset, ImageFiles) else _ReadAs(dataset, pixel_format)
