"""How the values in files become the pixels that a model reads: a property of the model, fixed when it is trained."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image

from openjepa.errors import BadImage, UsageError

PAGES = ("first", "channels", "images")
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow

Pixels = Image.Image | np.ndarray
"""An image as loaded: a PIL image ("RGB" or "L"), or an array [H, W, C], uint8 or float32."""


class Header(NamedTuple):
    """What the header of a file states.

    size   (width, height) in pixels, upright
    mode   Pillow's name, or such as "12xfloat32"
    bands  channels: 1 for grey, 3 for anything in colour, else as many as there are
    depth  of a value: uint8 (or fewer bits), uint16 or other
    pages  images in the file
    parts  values of a pixel as stored: 4 for colour with transparency
    starts of a TIFF with several images: where in the file the directory of each lies
    """

    size: tuple[int, int]
    mode: str
    bands: int
    depth: str = "uint8"
    pages: int = 1
    parts: int = 0
    starts: tuple[int, ...] = ()


@dataclass(frozen=True)
class PixelFormat:
    """channels, of every image; values and pages, how they are read.

    values  uint8  0 to 255: of 8 bits as they are, 16 bits divided by 257; others must lie in 0..1 or 0..255
            unit   float32 in which full scale, 255 or 65,535, is 1
            raw    float32, the numbers that the file holds; of what is not finite, the mean of the channel
    pages   first, or of a file with several: stacked as channels, or images of their own
    """

    channels: int = 3
    values: str = "uint8"
    pages: str = "first"

    def takes(self, header: Header) -> bool:
        """Whether an image can be read so: grey and colour become each other, other numbers of channels must agree."""
        have = channels_of(header, self.pages)
        return have == self.channels or {have, self.channels} == {1, 3} or header.parts == self.channels

    @property
    def picture(self) -> bool:
        """Whether images are PIL images."""
        return self.values == "uint8" and self.channels in (1, 3)

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(np.uint8 if self.values == "uint8" else np.float32)

    def in_words(self) -> str:
        values = {"uint8": "8 bits", "unit": "16 bits", "raw": "numbers as they are in the files"}[self.values]
        return f"{self.channels} channel{'s' * (self.channels != 1)}, {values}"


RGB = PixelFormat()


def stored_pixel_format(about: dict) -> PixelFormat | None:
    """The pixel format in a stored file, called `reading` in older ones; None in files that state none."""
    stored = about.get("pixel_format", about.get("reading"))
    return None if stored is None else PixelFormat(**stored)


def channels_of(header: Header, pages: str) -> int:
    return header.bands * (header.pages if pages == "channels" else 1)


def disagreement(source: str, have: str, want: int) -> str:
    """The message for images that cannot be read with the channels asked for."""
    return (
        f"{source} holds images of {have} channels, where {want} {'is' if want == 1 else 'are'} to be read: "
        "give images and a model (or --channels) that agree"
    )


def choose_pixel_format(
    headers: Iterable[Header], source: str, channels: int | None = None, pages: str = "first"
) -> PixelFormat:
    """What suits all images of a source: grey and colour together are read as 3 channels, all grey as 1.

    8 bits where any image has 8, 16 where all have 16, else the numbers as they are. Raises UsageError for other
    mixtures, unless `channels` selects those of one number.
    """
    headers = list(headers)
    counts = Counter(channels_of(header, pages) for header in headers)
    if channels is None and len(counts) > 1 and not counts.keys() <= {1, 3}:
        found = ", ".join(f"{count:,} of {number}" for number, count in sorted(counts.items()))
        raise UsageError(f"{source} mixes numbers of channels (images: {found}): give --channels to take those of one")
    channels = max(counts) if channels is None else channels
    depths = {header.depth for header in headers if PixelFormat(channels, pages=pages).takes(header)}
    values = "uint8" if "uint8" in depths or not depths else "unit" if depths == {"uint16"} else "raw"
    return PixelFormat(channels, values, pages)


def as_pixels(pixels: Pixels, pixel_format: PixelFormat) -> Pixels:
    """Any image as a pixel format asks for: a PIL image if it is a picture, else an array. Raises BadImage."""
    return as_loaded(fit(pixels, pixel_format), pixel_format)


def as_loaded(array: np.ndarray, pixel_format: PixelFormat) -> Pixels:
    """An array [H, W, C] that is as a pixel format asks for, as a PIL image where it is one."""
    if not pixel_format.picture:
        return array
    return Image.fromarray(array.squeeze(2) if pixel_format.channels == 1 else array)


def fit(pixels: Pixels, pixel_format: PixelFormat) -> np.ndarray:
    """Any image as [H, W, channels] uint8 or float32, as a pixel format has it; raises BadImage where it cannot be."""
    array = np.asarray(pixels)
    array = _in_channels(array if array.ndim == 3 else array[..., None], pixel_format.channels)
    if pixel_format.values == "raw":
        with np.errstate(over="ignore"):  # what is too large becomes infinite
            return _finite(array.astype(np.float32))
    if array.dtype == bool:
        array = array * np.uint8(255)
    if pixel_format.values == "uint8":
        return array if array.dtype == np.uint8 else np.rint(byte_range(array)).astype(np.uint8)
    full = {"uint8": 255, "uint16": 65535}.get(array.dtype.name)
    return array / np.float32(full) if full else (byte_range(array) / 255).astype(np.float32)


def byte_range(values: np.ndarray) -> np.ndarray:
    """16-bit values divided by 257; others must lie within 0..1, which is stretched, or within 0..255. BadImage."""
    if values.dtype == np.uint16:
        return values / np.float32(257)
    low, high = values.min(), values.max()
    if low >= 0 and high <= 1:
        return values * np.float32(255)
    if low >= 0 and high <= 255:
        return values
    raise BadImage(f"unknown value range ({low:g} to {high:g}; 0..1 and 0..255 are understood)")


def _in_channels(array: np.ndarray, channels: int) -> np.ndarray:
    have = array.shape[2]
    if have == channels:
        return array
    if (have, channels) == (1, 3):
        return array.repeat(3, axis=2)
    if (have, channels) != (3, 1):
        raise BadImage(f"{have} channels, not {channels}")
    grey = (array @ np.array(LUMA))[..., None]
    return (np.rint(grey) if array.dtype.kind in "iu" else grey).astype(array.dtype)


def _finite(values: np.ndarray) -> np.ndarray:
    """What is not finite, as where there is no data, takes the mean of the rest of its channel."""
    good = np.isfinite(values)
    if good.all():
        return values
    if not good.any(axis=(0, 1)).all():
        raise BadImage("a channel without any finite value")
    mean = np.where(good, values, 0).sum(axis=(0, 1), dtype=np.float64) / good.sum(axis=(0, 1))
    return np.where(good, values, mean.astype(np.float32))
