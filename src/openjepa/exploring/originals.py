"""The images of an index as they lie where they were indexed, made small enough for a page.

An image is found by its path in the index, never by one of a request. Nothing is fetched: a source that is not on this
machine has no originals here.
"""

import contextlib
import io
import os
import threading
from pathlib import Path

import numpy as np
from PIL import Image

from openjepa.data.crops import as_picture
from openjepa.data.dataset import ImageDataset, ImageFiles, read_as
from openjepa.data.decoding.pixel_format import RGB, Pixels
from openjepa.data.decoding.read import read_pixels
from openjepa.data.open import open_dataset
from openjepa.data.sources import scenes
from openjepa.errors import UsageError
from openjepa.safety.limits import MAX_FILE_BYTES

AT_ONCE = 2  # images that are decoded at a time, since one may take a quarter of a gigabyte
QUALITY = 88  # of JPEG


class Originals:
    """The images of a source, by their paths; it is opened when the first is asked for."""

    def __init__(self, source: str) -> None:
        self.source = source
        self._decoding, self._opening = threading.Semaphore(AT_ONCE), threading.Lock()
        self._opened: tuple[ImageDataset, dict[str, int]] | None = None

    def load(self, path: str, size: int) -> Image.Image:
        """An image, upright and in colour, its longer side at most `size`. Raises UsageError or BadImage."""
        with self._decoding:
            image = self._of_folder(path, size)
            if image is None:
                dataset, places = self._dataset()
                if path not in places:
                    raise UsageError(f"{path} is not in {self.source} any more: bring the index up to date")
                image = dataset.load(places[path])
            return fitted(image, size)

    def _of_folder(self, path: str, size: int) -> Pixels | None:
        """An image that is a file of its own in a folder; None for another one."""
        root, place = Path(self.source), Path(self.source) / path
        try:
            if not root.is_dir() or not place.resolve().is_relative_to(root.resolve()) or not place.is_file():
                return None
            if place.stat().st_size > MAX_FILE_BYTES.get():
                return None
            data = place.read_bytes()
        except (OSError, ValueError, RuntimeError):
            return None
        return decoded(data, size)

    def _dataset(self) -> tuple[ImageDataset, dict[str, int]]:
        """The images of the source, and the index of each by its path. Raises UsageError."""
        with self._opening:
            if self._opened is None:
                dataset = open_source(self.source)
                with contextlib.suppress(UsageError):
                    dataset = dataset.read_as(RGB) if isinstance(dataset, ImageFiles) else read_as(dataset, RGB)
                self._opened = dataset, {path: place for place, path in enumerate(dataset.paths)}
            return self._opened


def open_source(source: str) -> ImageDataset:
    """The images of the source of an index, which must be on this machine. Raises UsageError."""
    if not os.path.exists(source) and not scenes.takes(source):
        raise UsageError(f"the images are {source}, which is not on this machine")
    return open_dataset(source)


def decoded(data: bytes, size: int) -> Pixels:
    """The bytes of an image file in colour, a JPEG as much smaller as `size` allows. Raises BadImage."""

    def times(width: int, height: int) -> int:
        return next((times for times in (8, 4, 2) if max(width, height) >= times * size), 1)

    return read_pixels(io.BytesIO(data), RGB, times=times)


def fitted(image: Pixels, size: int) -> Image.Image:
    """An image as a picture in colour, its longer side at most `size`."""
    picture = (Image.fromarray(as_picture(image)) if isinstance(image, np.ndarray) else image).convert("RGB")
    picture.thumbnail((size, size), Image.Resampling.BICUBIC)
    return picture


def as_jpeg(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=QUALITY)
    return stream.getvalue()
