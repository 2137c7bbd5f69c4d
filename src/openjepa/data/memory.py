"""A dataset decoded once and held as bytes, for runs that pass over it many times."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from multiprocessing.context import get_spawning_popen
from typing import Any

import numpy as np
import torch

from openjepa.data.crops import size_of
from openjepa.data.dataset import Columns, ImageDataset, ImageFiles
from openjepa.data.decoding.pixel_format import RGB, PixelFormat, Pixels, as_loaded
from openjepa.data.decoding.read import read_header
from openjepa.data.storage.storage import Skipped
from openjepa.data.summary import Summary
from openjepa.data.workers import mapped, workers_for
from openjepa.errors import BadImage, UsageError

CHUNK = 32


@dataclass(eq=False)
class ImagesInMemory(ImageDataset):
    """An ImageDataset over one buffer: image i is `pixels[starts[i]:][:H * W * C]`, row by row.

    pixels  uint8 or float32 [values of all images], as `pixel_format` has them
    starts  int64 [n]
    shapes  int64 [n, 2] (H, W), of images that could not be decoded (0, 0)
    files   the images that were decoded, `rows` int64 [n] their indices there; where some could not be: these are tried
            again each time they are loaded
    shared  `pixels` as memory that processes share, once it was needed

    One buffer and not one array for each image, so that workers and subsets use the same memory: workers that are
    forked as it is; where they are started anew, it is moved to memory that processes share.
    """

    source: str
    paths: Sequence[str]
    labels: dict[str, np.ndarray]
    classes: dict[str, list[str]]
    pixels: np.ndarray
    starts: np.ndarray
    shapes: np.ndarray
    pixel_format: PixelFormat = RGB
    identity: str = ""
    columns: Columns = field(default_factory=Columns)
    files: ImageDataset | None = field(default=None, repr=False)
    rows: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64), repr=False)
    shared: torch.Tensor | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.starts)

    def __getstate__(self) -> dict[str, Any]:
        if get_spawning_popen() is None:  # not for a process that is being started
            return vars(self)
        if self.shared is None:
            with contextlib.suppress(RuntimeError, OSError):  # there is no room: each worker gets a copy
                self.shared = torch.from_numpy(self.pixels).share_memory_()
                self.pixels = self.shared.numpy()
        return vars(self) | ({} if self.shared is None else {"pixels": None})

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if self.pixels is None and self.shared is not None:
            self.pixels = self.shared.numpy()

    def load(self, index: int) -> Pixels:
        height, width = self.shapes[index]
        if self.files is not None and not height:
            return self.files.load(int(self.rows[index]))
        start, channels = self.starts[index], self.pixel_format.channels
        image = self.pixels[start : start + height * width * channels].reshape(height, width, channels)
        return as_loaded(image, self.pixel_format)

    def subset(self, indices: Sequence[int] | np.ndarray) -> "ImagesInMemory":
        chosen = np.arange(len(self))[np.asarray(indices)]
        paths = [self.paths[index] for index in chosen]
        labels = {key: values[chosen] for key, values in self.labels.items()}
        known: dict[str, Any] = {"labels": labels, "columns": self.columns.rows(chosen)}
        known |= {} if self.files is None else {"rows": self.rows[chosen]}
        return replace(self, paths=paths, starts=self.starts[chosen], shapes=self.shapes[chosen], **known)


def decoded_bytes(summary: Summary) -> int:
    """The bytes that `hold_in_memory` will need for the images of the summary."""
    a_pixel = summary.pixel_format.channels * summary.pixel_format.dtype.itemsize
    seen = sum(count for *_, count in summary.sizes)  # fewer than there are where only a sample was looked at
    return sum(width * height * a_pixel * count for width, height, count in summary.sizes) * summary.images // seen


def shorter_sides(dataset: ImageDataset) -> np.ndarray:
    """The shorter side of every image in pixels, int64 [n], by their headers; of what is no file that of the first."""
    if isinstance(dataset, ImagesInMemory):
        return np.where(dataset.shapes[:, 0] > 0, dataset.shapes.min(axis=1), np.iinfo(np.int64).max)
    if not isinstance(dataset, ImageFiles):
        return np.full(len(dataset), min(size_of(dataset.load(0))))
    return np.array([_shorter_side(dataset, index) for index in range(len(dataset))], np.int64)


def _shorter_side(dataset: ImageFiles, index: int) -> int:
    try:
        with dataset.open(index) as stream:
            return min(read_header(stream).size)
    except BadImage:  # whoever loads it will say so
        return np.iinfo(np.int64).max


def hold_in_memory(
    dataset: ImageDataset, workers: int, progress: Callable[[int, int], None] | None = None
) -> tuple[ImagesInMemory, Skipped]:
    """Decodes every image once, in `workers` processes (0: in this one); the result is the same for any number.

    Returns all images, and (path, reason) of those that could not be decoded: they are tried again whenever they are
    loaded, as images are that are read from the disk each time.
    `progress(done, total)` is called for each. Raises UsageError if none can be decoded.
    """
    pixels, shapes = bytearray(), []
    bad: Skipped = []
    chunks = [range(start, min(start + CHUNK, len(dataset))) for start in range(0, len(dataset), CHUNK)]
    decoding = mapped(_decode, dataset, chunks, workers_for(dataset, workers))
    for index, decoded in enumerate(chain.from_iterable(decoding)):
        if isinstance(decoded, str):
            bad.append((dataset.paths[index], decoded))
            shapes.append((0, 0))
        else:
            pixels += np.ascontiguousarray(decoded).data.cast("B")
            shapes.append(decoded.shape[:2])
        if progress:
            progress(index + 1, len(dataset))
    if len(bad) == len(dataset):
        first = "".join(f"; {path}: {reason}" for path, reason in bad[:1])
        raise UsageError(f"no image in {dataset.source} can be decoded ({len(dataset):,} tried{first})")
    held = _in_memory(dataset, pixels, np.array(shapes, dtype=np.int64))
    return replace(held, files=dataset, rows=np.arange(len(dataset))) if bad else held, bad


def _in_memory(dataset: ImageDataset, pixels: bytearray, shapes: np.ndarray) -> ImagesInMemory:
    lengths = shapes.prod(axis=1) * dataset.pixel_format.channels
    flat, starts = np.frombuffer(pixels, dataset.pixel_format.dtype), np.cumsum(lengths) - lengths
    about = dataset.pixel_format, dataset.identity, dataset.columns
    labels = dict(dataset.labels)
    return ImagesInMemory(dataset.source, [*dataset.paths], labels, dataset.classes, flat, starts, shapes, *about)


def _decode(dataset: ImageDataset, indices: range) -> list[np.ndarray | str]:
    """For each image its pixels [H, W] or [H, W, C], or the reason why there are none."""
    return [_decode_one(dataset, index) for index in indices]


def _decode_one(dataset: ImageDataset, index: int) -> np.ndarray | str:
    try:
        return np.asarray(dataset.load(index))
    except BadImage as error:
        return str(error)
