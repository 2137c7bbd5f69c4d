"""From a file of any kind to the pixels that a pixel format asks for."""

from collections.abc import Callable
from typing import IO

from PIL import Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from openjepa.data.decoding.npy import MAGIC as NUMPY_MAGIC
from openjepa.data.decoding.pillow import SAMPLES as TIFF_SAMPLES
from openjepa.data.decoding.pillow import (
    bad_image_on_error,
    check_jpeg,
    is_deep_colour,
    native,
    open_image,
    pillow_header,
    png_orientation,
    reduce_jpeg,
    upright_rgb,
)
from openjepa.data.decoding.pixel_format import RGB, Header, PixelFormat, Pixels, as_pixels
from openjepa.data.decoding.plain_tiff import plain_image
from openjepa.data.decoding.scientific import (
    dicom_header,
    numpy_header,
    read_dicom,
    read_numpy,
    read_png,
    read_tiff,
    tiff_header,
    turned,
)
from openjepa.data.decoding.tiff_directories import TIFF_MAGIC, at_directory, directories
from openjepa.errors import BadImage
from openjepa.safety.limits import MAX_CHANNELS

DICOM_MAGIC = b"DICM"


def read_header(stream: IO[bytes]) -> Header:
    """The header of an image file, without decoding its pixels. Raises BadImage."""
    with bad_image_on_error():
        kind = _kind(stream)
        header = _HEADERS[kind](stream)
        if header.bands > 3 and header.bands > MAX_CHANNELS.get():
            raise BadImage(f"{header.bands:,} channels, more than are read ({MAX_CHANNELS.words()})")
        if kind == "tiff":
            starts = directories(stream)
            header = header._replace(pages=max(1, len(starts)), starts=tuple(starts) if len(starts) > 1 else ())
        return header


def _tiff_header(stream: IO[bytes]) -> Header:
    image = _pillow(stream, "tiff")
    return pillow_header(image) if image else tiff_header(stream)


_HEADERS: dict[str, Callable[[IO[bytes]], Header]] = {
    "numpy": numpy_header,
    "dicom": dicom_header,
    "tiff": _tiff_header,
    "other": lambda stream: pillow_header(open_image(stream)),
}


def read_pixels(
    stream: IO[bytes], pixel_format: PixelFormat = RGB, page: int = 0, times: Callable[[int, int], int] | None = None
) -> Pixels:
    """An image file as a pixel format asks for; `page` is which of several images in it, unless they are stacked.

    A JPEG is decoded 1, 2, 4 or 8 times smaller, by `times(width, height)` of its upright size.
    8-bit images read as 1 or 3 channels are PIL images, others arrays [H, W, C] of uint8 or float32. All are upright.

    Raises BadImage with a short reason: "empty file", "truncated", "not an image (...)", "larger than ...",
    "unknown value range (...)", "3 channels, not 12", "needs tifffile: ..." or "damaged (...)".
    """
    with bad_image_on_error():
        kind = _kind(stream)
        if kind == "numpy":
            return as_pixels(read_numpy(stream), pixel_format)
        stacked = pixel_format.pages == "channels"
        if kind == "dicom":
            frames = range(dicom_header(stream).pages) if stacked else range(page, page + 1)
            return as_pixels(read_dicom(stream, frames), pixel_format)
        starts = directories(stream) if kind == "tiff" and (stacked or page) else []
        if stacked and len(starts) > 1:
            return as_pixels(read_tiff(stream, range(len(starts))), pixel_format)
        return (
            read_tiff_page(stream, pixel_format, starts[page]) if page else _read_one(stream, kind, pixel_format, times)
        )


def read_tiff_page(stream: IO[bytes], pixel_format: PixelFormat, start: int) -> Pixels:
    """As `read_pixels`: the image of a TIFF whose directory lies at the offset `start`. Raises BadImage."""
    with bad_image_on_error():
        if plain := plain_image(stream, start):
            as_it_is = pixel_format.picture and plain.mode == ("L" if pixel_format.channels == 1 else "RGB")
            return plain if as_it_is else _as_asked(plain, pixel_format)
        return _read_one(at_directory(stream, start), "tiff", pixel_format, None)


def _read_one(
    stream: IO[bytes], kind: str, pixel_format: PixelFormat, times: Callable[[int, int], int] | None
) -> Pixels:
    """The first image of a file that is no array."""
    image = _pillow(stream, kind)
    if image is None:
        return as_pixels(read_tiff(stream, range(1)), pixel_format)
    if image.format == "JPEG":
        check_jpeg(image, _whole(stream))
        if times and pixel_format.picture:
            reduce_jpeg(image, times)
    if (
        isinstance(image, TiffImageFile)
        and pixel_format.channels not in (1, 3)
        and image.tag_v2.get(TIFF_SAMPLES) == pixel_format.channels
    ):
        return as_pixels(read_tiff(stream, range(1)), pixel_format)
    if pixel_format.values != "uint8" and is_deep_colour(image):
        return as_pixels(_deep_colour(stream, image), pixel_format)
    return _as_asked(image, pixel_format)


def _as_asked(image: Image.Image, pixel_format: PixelFormat) -> Pixels:
    if pixel_format.picture:
        rgb = upright_rgb(image)
        return rgb if pixel_format.channels == 3 else rgb.convert("L")
    return as_pixels(native(image, pixel_format.channels), pixel_format)


def _deep_colour(stream: IO[bytes], image: ImageFile):
    """All 16 bits of a picture in colour, upright: uint16 [H, W, C]."""
    if image.format == "TIFF":
        return read_tiff(stream, range(1))
    data = _whole(stream)
    return turned(read_png(data), png_orientation(image, data))


def _whole(stream: IO[bytes]) -> bytes:
    stream.seek(0)
    return stream.read()


def _kind(stream: IO[bytes]) -> str:
    stream.seek(0)
    start = stream.read(132)
    if start[:6] == NUMPY_MAGIC:
        return "numpy"
    if start[128:] == DICOM_MAGIC:
        return "dicom"
    return "tiff" if start[:4] in TIFF_MAGIC else "other"


def _pillow(stream: IO[bytes], kind: str) -> ImageFile | None:
    """The file as Pillow opens it, or None for a TIFF that it cannot."""
    try:
        return open_image(stream)
    except (UnidentifiedImageError, SyntaxError):
        if kind != "tiff":
            raise
        return None
