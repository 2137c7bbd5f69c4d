"""Any file that Pillow reads to upright 8-bit RGB or to its own numbers, and any fault in it to one short reason."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import IO

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from openjepa.data.decoding.pixel_format import Header, byte_range
from openjepa.data.decoding.scientific import check_size, turned
from openjepa.data.decoding.silence import silence_decoders
from openjepa.errors import BadImage
from openjepa.safety.limits import MAX_PIXELS

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
PIXELS_A_BYTE = 512  # of a JPEG at most: each block of 64 pixels takes a bit or more (ITU-T T.81, annex F)
SCANS = 20  # of the largest image; progressive files have about ten
START_OF_SCAN = b"\xff\xda"
BITS, PHOTOMETRIC, SAMPLES, EXTRA = 258, 262, 277, 338  # TIFF tags
WHITE_IS_ZERO = 0  # a value of PHOTOMETRIC
EXIF_IN_PNG = (b"eXIf", b"Raw profile type exif", b"Raw profile type APP1", b"XML:com.adobe.xmp")

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def reduce_jpeg(image: Image.Image, times: Callable[[int, int], int]) -> None:
    """Have a JPEG decoded 1, 2, 4 or 8 times smaller, rounded up, by `times` of its upright (width, height)."""
    width, height = image.size
    smaller = times(height, width) if _orientation(image) in (5, 6, 7, 8) else times(width, height)
    if smaller > 1:
        image.draft(None, (max(1, width // smaller), max(1, height // smaller)))


def upright_rgb(image: Image.Image) -> Image.Image:
    """Any PIL image as mode "RGB" and upright: a JPEG that is so itself, else one without metadata.

    EXIF orientation is applied. Transparency is laid on white. 16-bit grey is divided by 257. Other grey (32-bit
    integer or float) must lie within 0..1, which is stretched, or within 0..255, which is rounded; else BadImage.
    """
    image.load()
    if image.mode == "RGB" and _is_plain_jpeg(image):
        return image
    rgb = _to_rgb(image)
    orientation = _orientation(image)
    upright = rgb.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else rgb
    upright.info = {}  # an orientation kept here would be applied a second time by the next reader
    return upright


def pillow_header(image: ImageFile) -> Header:
    """Of the first image of an opened file, without decoding it."""
    deep = is_deep_colour(image)  # first, because what follows may decode the image and discard its bit depth
    # Pillow already reports the upright size of a TIFF, and decodes all of a PNG to look for EXIF at its end.
    known = image.format == "TIFF" or (image.format == "PNG" and "exif" not in image.info)
    sideways = not known and _orientation(image) in (5, 6, 7, 8)
    size = image.size[::-1] if sideways else image.size
    bands, depth, parts = 3, "uint8", len(image.getbands())
    if is_grey_number(image):
        bands, depth = 1, "uint16" if is_16_bit_grey(image) else "other"
    elif image.mode in ("1", "L", "LA", "La"):
        bands = 1
    if isinstance(image, TiffImageFile):
        parts = image.tag_v2.get(SAMPLES, 1)
    if deep:
        bands, depth = parts, "uint16"
    return Header(
        size, f"{image.mode};16" if bands > 1 and depth == "uint16" else image.mode, bands, depth, parts=parts
    )


def is_grey_number(image: Image.Image) -> bool:
    """Whether it is grey of more than 8 bits."""
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def is_16_bit_grey(image: Image.Image) -> bool:
    # Some versions of Pillow open 16-bit PNG as 32-bit integers.
    return image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG")


def is_deep_colour(image: ImageFile) -> bool:
    """Whether it is 16-bit colour without transparency, of which Pillow gives 8 bits and other libraries all."""
    if not all(map(find_spec, ("imagecodecs", "tifffile"))):
        return False
    if image.format == "PNG":
        return image.mode == "RGB" and bool(image.tile) and "RGB;16" in str(image.tile[0][3])
    if not isinstance(image, TiffImageFile) or image.mode not in ("RGB", "RGBA", "RGBX"):
        return False
    return image.tag_v2.get(BITS, (8,))[0] == 16 and not set(image.tag_v2.get(EXTRA, ())) & {1, 2}


def native(image: Image.Image, channels: int) -> np.ndarray:
    """The numbers of an image, upright: [H, W, C], C as asked for where it can be, dtype as stored."""
    if is_grey_number(image):
        image.load()
        return turned(_grey_numbers(image)[..., None], _orientation(image))
    if channels not in (1, 3) and len(image.getbands()) == channels:
        image.load()
        return turned(np.asarray(image), _orientation(image))
    rgb = upright_rgb(image)
    return np.asarray(rgb if channels != 1 else rgb.convert("L")).reshape(rgb.height, rgb.width, -1)


@contextmanager
def bad_image_on_error() -> Iterator[None]:
    """Turns whatever a damaged file makes Pillow, zipfile or the system raise into BadImage."""
    try:
        yield
    except BadImage:
        raise
    except Exception as error:  # Pillow raises nearly every built-in exception on damaged input
        raise BadImage(_reason(error)) from error


def open_image(stream: IO[bytes]) -> ImageFile:
    """A file with its header read; raises whatever Pillow does, or BadImage."""
    stream.seek(0)
    if not stream.read(1):
        raise BadImage("empty file")
    silence_decoders()
    image = Image.open(stream, formats=FORMATS)
    check_size(*image.size)
    return image


def picture_format(data: bytes) -> str:
    """Pillow's name for the format of a file, or "" if it is none of those that Pillow reads here."""
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS).format or ""
    except (UnidentifiedImageError, SyntaxError):
        return ""


def check_jpeg(image: Image.Image, data: bytes) -> None:
    """Raises BadImage where a JPEG claims more than it can hold, so that a decoder would sit over it for long."""
    pixels = image.width * image.height
    if pixels > PIXELS_A_BYTE * len(data):
        raise BadImage(f"claims more pixels than it can hold ({image.width}x{image.height} in {len(data):,} bytes)")
    most = SCANS * MAX_PIXELS.get()
    if pixels * len(data) < most:  # no count of scans could exceed the limit
        return
    if pixels * (scans := data.count(START_OF_SCAN)) > most:
        raise BadImage(f"too many scans ({scans:,} of {image.width}x{image.height} pixels)")


def _orientation(image: Image.Image) -> int:
    if _is_plain_jpeg(image):
        return 1  # known without Pillow's slow search for it
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # the pixels may be sound although the EXIF block is damaged
        return 1


def png_orientation(image: Image.Image, data: bytes) -> int:
    """The orientation of a PNG, for which Pillow would decode it: only where its bytes hold what may state one."""
    return _orientation(image) if any(mark in data for mark in EXIF_IN_PNG) else 1


def _is_plain_jpeg(image: Image.Image) -> bool:
    """Whether it is a JPEG without a stored orientation."""
    return image.format == "JPEG" and not image.info.keys() & {"exif", "xmp"}


def _to_rgb(image: Image.Image) -> Image.Image:
    if is_grey_number(image):
        return _grey(byte_range(_grey_numbers(image)))
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image.convert("RGB")


def _grey_numbers(image: Image.Image) -> np.ndarray:
    """The values [H, W] of grey of more than 8 bits; of 16 bits uint16, and large values bright."""
    values = np.asarray(image)
    if not is_16_bit_grey(image):
        return values
    values = values.astype(np.uint16)
    tags = image.tag_v2 if isinstance(image, TiffImageFile) else {}
    inverted = tags.get(PHOTOMETRIC) == WHITE_IS_ZERO and image.mode != "I;16S"
    return np.uint16(2 ** min(16, tags.get(BITS, (16,))[0]) - 1) - values if inverted else values


def _grey(values: np.ndarray) -> Image.Image:
    return Image.fromarray(np.rint(values).astype(np.uint8)).convert("RGB")


def _reason(error: Exception) -> str:
    message = str(error).strip().split("\n")[0]
    if isinstance(error, UnidentifiedImageError):
        return "not an image (no readable JPEG, PNG, WebP, BMP, TIFF, DICOM or .npy)"
    if isinstance(error, Image.DecompressionBombError):
        return f"larger than {MAX_PIXELS.get():,} pixels"
    if isinstance(error, EOFError) or "truncated" in message.lower():
        return "truncated"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return f"damaged ({message or type(error).__name__})"
