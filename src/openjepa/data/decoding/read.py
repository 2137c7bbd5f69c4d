"""From a file of any kind to the pixels that a pixel format asks for."""

from collections.abc import Callable
from typing import IO

from PIL import UnidentifiedImageError
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from openjepa.data.decoding.pillow import SAMPLES as TIFF_SAMPLES
from openjepa.data.decoding.pillow import (
    bad_image_on_error,
    check_jpeg,
    is_deep_colour,
    native,
    open_image,
    pillow_header,
    reduce_jpeg,
    upright_rgb,
)
from openjepa.data.decoding.pixel_format import RGB, Header, PixelFormat, Pixels, as_pixels
from openjepa.data.decoding.scientific import (
    TIFF_MAGIC,
    dicom_header,
    numpy_header,
    read_dicom,
    read_numpy,
    read_png,
    read_tiff,
    tiff_header,
)

NUMPY_MAGIC, DICOM_MAGIC = b"\x93NUMPY", b"DICM"


def read_header(stream: IO[bytes]) -> Header:
    """The header of an image file, without decoding its pixels. Raises BadImage."""
    with bad_image_on_error():
        kind = _kind(stream)
        if kind in ("numpy", "dicom"):
            return {"numpy": numpy_header, "dicom": dicom_header}[kind](stream)
        image = _pillow(stream, kind)
        return pillow_header(image) if image else tiff_header(stream)


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
        if kind == "dicom":
            return as_pixels(read_dicom(stream, _pages(pixel_format, page, dicom_header(stream))), pixel_format)
        image = _pillow(stream, kind)
        if image and image.format == "JPEG":
            check_jpeg(image, _whole(stream))
            if times and pixel_format.picture:
                reduce_jpeg(image, times)
        pages = range(1)
        if kind == "tiff":
            pages = _pages(pixel_format, page, pillow_header(image) if image else tiff_header(stream))
        return _read(stream, image, pixel_format, pages)


def _read(stream: IO[bytes], image: ImageFile | None, pixel_format: PixelFormat, pages: range) -> Pixels:
    if image is None or len(pages) > 1:
        return as_pixels(read_tiff(stream, pages), pixel_format)
    image.seek(pages[0])
    if (
        isinstance(image, TiffImageFile)
        and pixel_format.channels not in (1, 3)
        and image.tag_v2.get(TIFF_SAMPLES) == pixel_format.channels
    ):
        return as_pixels(read_tiff(stream, pages), pixel_format)
    if pixel_format.values != "uint8" and is_deep_colour(image):
        return as_pixels(read_tiff(stream, pages) if image.format == "TIFF" else read_png(stream), pixel_format)
    if pixel_format.picture:
        rgb = upright_rgb(image)
        return rgb if pixel_format.channels == 3 else rgb.convert("L")
    return as_pixels(native(image, pixel_format.channels), pixel_format)


def _whole(stream: IO[bytes]) -> bytes:
    stream.seek(0)
    return stream.read()


def _pages(pixel_format: PixelFormat, page: int, header: Header) -> range:
    return range(header.pages) if pixel_format.pages == "channels" else range(page, page + 1)


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
