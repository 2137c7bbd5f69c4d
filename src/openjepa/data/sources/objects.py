"""Images that a program holds: a list of pictures or paths, or the data set of another library."""

import hashlib
import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, Any

import numpy as np
from PIL import Image, ImageOps
from torch import Tensor

from openjepa.data.dataset import ImageFiles
from openjepa.data.sources.indexed import Indexed
from openjepa.data.sources.labels import Labels, labels_of
from openjepa.data.storage.names import Names, printable
from openjepa.data.storage.remote import open_file
from openjepa.errors import BadImage, UsageError

SAMPLED = 8  # images that are read twice before a run, and whose content makes the fingerprint
COLUMNS = ("image", "img", "picture")
TARGETS = ("targets", "labels", "_labels")  # what torchvision's data sets call them
ALLOWED = "PIL images, arrays [H, W] or [H, W, C], tensors [C, H, W], paths, or (image, label) pairs or dicts of these"


def as_dataset(
    images: Indexed,
    *,
    labels: Sequence[Any] | Mapping[str, Sequence[Any]] | None = None,
    name: str = "images",
    fingerprint: str | None = None,
) -> ImageFiles:
    """A sequence of images as what `pretrain`, `evaluate` and `embed` take in place of a path.

    images       anything with a length and items by index: a list, a `torch.utils.data.Dataset`, a
                 `datasets.Dataset`. An item is a PIL image, an array [H, W] or [H, W, C] or a tensor [C, H, W] of
                 whole or floating-point numbers, the path of an image file, or a tuple or dict with one of these
                 (first, or under "image")
    labels       n values, or several lists of n values by name; left out, those that the data set itself holds. A value
                 is a class, a number, or a list of the classes of an image that has several
    name         what messages, the plan and the report call the images
    fingerprint  a text that changes with the content, which a resumed run compares. Left out, it is made from the
                 content of up to eight images; the number of images is always compared

    An item must be the same each time it is asked for: random transforms belong into training. With workers, the
    sequence is sent to other processes, so it must be picklable where processes are not forked.

    Raises UsageError: no images, an iterator without a length, an item that is no image, or one that changes.
    """
    if not isinstance(images, Indexed) or isinstance(images, str | bytes | Mapping):
        raise UsageError(f"cannot read images from {type(images).__name__}: give a sequence of {ALLOWED}")
    if not len(images):
        raise UsageError("no images given: give at least one")
    rows = GivenImages(images, _column(images))
    rows.check_stable()
    return ImageFiles(name, rows, rows.names(), *_labels(images, labels), identity=fingerprint or rows.fingerprint())


class GivenImages:
    """The storage of images that are no files: each is encoded without loss when it is read."""

    window = 0

    def __init__(self, images: Indexed, column: str | None) -> None:
        self._images, self._column = images, column

    def open(self, row: int) -> IO[bytes]:
        image = self._image(row)
        if isinstance(image, str | os.PathLike):
            return open_file(os.fspath(image))
        if isinstance(image, Image.Image):
            return _encoded(lambda stream: _saveable(image).save(stream, "TIFF"))
        return _encoded(lambda stream: np.save(stream, _array(image), allow_pickle=False))

    def stamp(self, row: int) -> tuple[int, ...]:
        return (0, int(row))  # encoding every image for its size would cost a pass over all

    def names(self) -> Names:
        """The paths of images that are all given as paths and differ, else numbers."""
        if isinstance(self._images, list | tuple) and all(isinstance(each, str | os.PathLike) for each in self._images):
            paths = [os.fspath(each) for each in self._images]
            if len(set(paths)) == len(paths):
                return Names.of(paths)
        return Names.numbered("image", len(self._images))

    def check_stable(self) -> None:
        """Raise UsageError if none of a few images can be had, or one is another the second time it is asked for."""
        reasons = [self._fault(row) for row in self._sample()]
        if all(reasons):
            raise UsageError(f"image 0 cannot be read: {reasons[0]}")

    def _fault(self, row: int) -> str:
        try:
            first, second = self._content(row), self._content(row)
        except Exception as error:  # raised by code of the user's
            return printable(str(error) if isinstance(error, BadImage) else f"{type(error).__name__}: {error}")[:300]
        if first != second:
            raise UsageError(
                f"image {row} is another each time it is asked for: give the images without random transforms"
            )
        return ""

    def fingerprint(self) -> str:
        """A hash of the content of a few images."""
        sound = (row for row in self._sample() if not self._fault(row))
        return hashlib.sha256(b"".join(map(self._content, sound))).hexdigest()

    def _sample(self) -> list[int]:
        return np.unique(np.linspace(0, len(self._images) - 1, SAMPLED).astype(int)).tolist()

    def _content(self, row: int) -> bytes:
        with self.open(row) as stream:
            return hashlib.sha256(stream.read()).digest()

    def _image(self, row: int) -> Any:
        item = self._images[int(row)]
        if isinstance(item, Mapping):
            return item[self._column] if self._column in item else _refused(item)
        return item[0] if isinstance(item, tuple | list) and item else item


def _encoded(write: Callable[[IO[bytes]], None]) -> IO[bytes]:
    stream = io.BytesIO()
    write(stream)
    stream.seek(0)
    return stream


def _saveable(image: Image.Image) -> Image.Image:
    """A PIL image upright and in a mode that TIFF holds without loss."""
    upright = ImageOps.exif_transpose(image)
    if upright.mode in ("P", "PA", "La", "RGBa", "HSV", "RGBX"):
        return upright.convert("RGBA" if upright.has_transparency_data else "RGB")
    return upright


def _array(image: Any) -> np.ndarray:
    """An array [H, W] or [H, W, C] of a tensor or array; raises BadImage for anything else."""
    if isinstance(image, Tensor):
        image = image.detach().cpu()
        image = (image.permute(1, 2, 0) if image.ndim == 3 else image).numpy()
    if not isinstance(image, np.ndarray) or image.ndim not in (2, 3) or image.dtype.kind not in "buif":
        _refused(image)
    return image * np.uint8(255) if image.dtype == bool else image


def _refused(item: Any) -> Any:
    shape = f"{item.dtype} {list(item.shape)}" if isinstance(item, np.ndarray) else type(item).__name__
    keys = f" with the keys {', '.join(map(str, item))}" if isinstance(item, Mapping) else ""
    raise BadImage(f"cannot read {printable(shape + keys)[:200]} as an image: give {ALLOWED}")


def _column(images: Indexed) -> str | None:
    """The key of the images in items that are dicts: a column of images of a `datasets.Dataset`, or a usual name."""
    features = getattr(images, "features", None)
    if isinstance(features, Mapping):
        pictures = [name for name, kind in features.items() if type(kind).__name__ == "Image"]
        return next(iter(pictures), None)
    try:
        first = images[0]
    except Exception:  # raised by code of the user's; it is reported where the images are read
        return None
    return next((name for name in COLUMNS if name in first), None) if isinstance(first, Mapping) else None


def _labels(images: Indexed, given: Sequence[Any] | Mapping[str, Sequence[Any]] | None) -> Labels:
    """The labels given, else those that the data set holds in columns, attributes or pairs in memory."""
    if given is not None:
        columns = given if isinstance(given, Mapping) else {"class": given}
        for name, values in columns.items():
            if len(values) != len(images):
                raise UsageError(f"label {name} has {len(values):,} values for {len(images):,} images: give one each")
        return labels_of((printable(str(name)), _plain(values), None) for name, values in columns.items())
    return labels_of(_held(images))


def _held(images: Any) -> Iterator[tuple[str, list, list[str] | None]]:
    features = getattr(images, "features", None)
    if isinstance(features, Mapping):
        for name, kind in features.items():
            of_texts = getattr(getattr(kind, "feature", None), "dtype", None) == "string"
            if type(kind).__name__ in ("ClassLabel", "Value") or of_texts:
                yield printable(name), _plain(images[name]), getattr(kind, "names", None)
        return
    found = next((getattr(images, name) for name in TARGETS if hasattr(images, name)), None)
    if found is not None and len(found) == len(images):
        classes = getattr(images, "classes", None)
        yield "class", _plain(found), list(map(str, classes)) if classes else None
    elif isinstance(images, list | tuple) and all(isinstance(each, tuple) and len(each) == 2 for each in images):
        yield "class", _plain([label for _, label in images]), None


def _plain(values: Sequence[Any]) -> list:
    """Values as texts, whole numbers and so on of Python's own."""
    return [value.item() if isinstance(value, np.generic | Tensor) else value for value in values]
