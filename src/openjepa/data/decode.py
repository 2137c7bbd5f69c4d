"""Any image file to upright 8-bit RGB, and any fault in it to one short reason."""

import logging
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from openjepa.errors import BadImage

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
MAX_PIXELS = 89_478_485  # Pillow's own limit against decompression bombs

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_IGNORE_PILLOW = ("ignore", None, Warning, re.compile(r"PIL\."), 0)

# Without a handler of its own, Pillow's complaints about odd TIFFs would go to stderr.
logging.getLogger("PIL").addHandler(logging.NullHandler())


def decode(stream: BinaryIO, times: Callable[[int, int], int] | None = None) -> Image.Image:
    """The first frame of an image file as mode "RGB", upright, without metadata.

    EXIF orientation is applied. Transparency is laid on white. 16-bit grey is divided by 257. Other grey
    (32-bit integer or float) must lie within 0..1, which is stretched, or within 0..255, which is rounded. A JPEG is
    decoded 1, 2, 4 or 8 times smaller (rounded up), as `times(width, height)` of its upright size says.

    Raises BadImage with a short reason: "empty file", "truncated", "not an image (...)", "larger than ...",
    "unknown value range (...)" or "damaged (...)".
    """
    with bad_image_on_error():
        image = _open(stream)
        if times and image.format == "JPEG":
            _reduce(image, times)
        return upright_rgb(image)


def _reduce(image: Image.Image, times: Callable[[int, int], int]) -> None:
    width, height = image.size
    smaller = times(height, width) if _orientation(image) in (5, 6, 7, 8) else times(width, height)
    if smaller > 1:
        image.draft(None, (max(1, width // smaller), max(1, height // smaller)))


def upright_rgb(image: Image.Image) -> Image.Image:
    """Any PIL image as mode "RGB", upright, without metadata, by the rules of `decode`."""
    image.load()
    rgb = _to_rgb(image)
    orientation = _orientation(image)
    upright = rgb.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else rgb
    if upright is image:
        return image
    upright.info = {}  # an orientation kept here would be applied twice by whoever honours it next
    return upright


def read_header(stream: BinaryIO) -> tuple[tuple[int, int], str]:
    """Upright (width, height) in pixels and Pillow's name of the mode, without decoding. Raises BadImage."""
    with bad_image_on_error():
        image = _open(stream)
        # Pillow already reports the upright size of a TIFF.
        sideways = image.format != "TIFF" and _orientation(image) in (5, 6, 7, 8)
        return (image.size[::-1] if sideways else image.size), image.mode


@contextmanager
def bad_image_on_error() -> Iterator[None]:
    """Turns whatever a damaged file makes Pillow, zipfile or the system raise into BadImage."""
    try:
        yield
    except BadImage:
        raise
    except Exception as error:  # Pillow raises nearly every built-in exception on damaged input
        raise BadImage(_reason(error)) from error


def _open(stream: BinaryIO) -> Image.Image:
    if not stream.read(1):
        raise BadImage("empty file")
    _silence_pillow()
    image = Image.open(stream, formats=FORMATS)
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise BadImage(f"larger than {MAX_PIXELS:,} pixels ({width}x{height})")
    return image


def _silence_pillow() -> None:
    # catch_warnings would swap the filters of the whole process, which threads must not do at the same time.
    # One entry that stays in front is safe; test runners and other users of catch_warnings take it away again.
    if warnings.filters[:1] != [_IGNORE_PILLOW]:
        warnings.filterwarnings("ignore", module=_IGNORE_PILLOW[3].pattern)


def _orientation(image: Image.Image) -> int:
    if image.format == "JPEG" and not image.info.keys() & {"exif", "xmp"}:
        return 1  # told without the time that Pillow takes to look for it
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # a damaged EXIF block says nothing against the pixels
        return 1


def _to_rgb(image: Image.Image) -> Image.Image:
    # Some versions of Pillow open 16-bit PNG as 32-bit integers.
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        return _grey(np.asarray(image) / np.float32(257))
    if image.mode in ("I", "F"):
        return _grey(_to_byte_range(np.asarray(image)))
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image.convert("RGB")


def _grey(values: np.ndarray) -> Image.Image:
    return Image.fromarray(np.rint(values).astype(np.uint8)).convert("RGB")


def _to_byte_range(values: np.ndarray) -> np.ndarray:
    low, high = values.min(), values.max()
    if low >= 0 and high <= 1:
        return values * np.float32(255)
    if low >= 0 and high <= 255:
        return values
    raise BadImage(f"unknown value range ({low:g} to {high:g}; 0..1 and 0..255 are understood)")


def _reason(error: Exception) -> str:
    message = str(error).strip().split("\n")[0]
    if isinstance(error, UnidentifiedImageError):
        return "not an image (no readable JPEG, PNG, WebP, BMP or TIFF)"
    if isinstance(error, Image.DecompressionBombError):
        return f"larger than {MAX_PIXELS:,} pixels"
    if isinstance(error, EOFError) or "truncated" in message.lower():
        return "truncated"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return f"damaged ({message or type(error).__name__})"
