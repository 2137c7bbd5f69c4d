"""Arrays of any channels and depth from the files that Pillow does not read, or not whole: TIFF, PNG, NumPy, DICOM."""

import importlib
import io
from types import ModuleType
from typing import IO

import numpy as np

from openjepa.data.decoding.npy import NUMBERS, NpyLayout, npy_layout
from openjepa.data.decoding.pixel_format import Header
from openjepa.data.decoding.silence import silence_decoders
from openjepa.errors import BadImage
from openjepa.safety.limits import MAX_IMAGE_BYTES, MAX_PAGES, MAX_PIXELS

WHITE_IS_ZERO = 0  # a photometric interpretation of TIFF
# Transfer syntaxes of DICOM that do not compress pixels, and the bytes of the tag before these.
UNCOMPRESSED = {"1.2.840.10008.1.2": 8, "1.2.840.10008.1.2.1": 12, "1.2.840.10008.1.2.2": 12}
HALVED = "YBR_FULL_422"  # colours at half the resolution
DEFLATED = "1.2.840.10008.1.2.1.99"  # the transfer syntax of DICOM that is compressed as a whole


def needs(module: str, extra: str) -> ModuleType:
    """The module; raises BadImage that names the extra which brings it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise BadImage(f"needs {module}: pip install 'openjepa[{extra}]'") from error


def check_size(width: int, height: int, bytes_a_pixel: int = 1) -> None:
    """Raises BadImage for an image that would fill the memory."""
    if width < 1 or height < 1:
        raise BadImage(f"no pixels ({width}x{height})")
    if width * height > (most := MAX_PIXELS.get()):
        raise BadImage(f"larger than {most:,} pixels ({width}x{height})")
    if width * height * bytes_a_pixel > (most := MAX_IMAGE_BYTES.get()):
        raise BadImage(f"larger than {most:,} bytes of pixels ({width}x{height}, {bytes_a_pixel} bytes each)")


def tiff_header(stream: IO[bytes]) -> Header:
    """Of the first image of a TIFF that Pillow cannot open, such as one of many bands or 64-bit numbers."""
    stream.seek(0)
    with needs("tifffile", "tiff").TiffFile(stream) as file:
        page = file.pages.first
        (height, width, bands), dtype = _page_shape(page), page.dtype
        width, height = (height, width) if _orientation(page) > 4 else (width, height)
        return array_header((width, height), bands, dtype, 1)


def read_tiff(stream: IO[bytes], pages: range) -> np.ndarray:
    """Pages of a TIFF beside one another: [H, W, bands of all of them], numbers as stored."""
    stream.seek(0)
    with needs("tifffile", "tiff").TiffFile(stream) as file:
        chosen = [file.pages[number] for number in pages]
        shapes = {_page_shape(page) for page in chosen}
        if len(shapes) > 1:
            raise BadImage("pages of different sizes")
        height, width, bands = shapes.pop()
        check_size(width, height, bands * chosen[0].dtype.itemsize * len(chosen))
        return np.concatenate([_read_page(page) for page in chosen], axis=2)


def _page_shape(page) -> tuple[int, int, int]:
    """Rows, columns and bands."""
    if page.dtype is None or page.dtype.kind not in NUMBERS:
        raise BadImage(f"values that are no numbers ({page.dtype})")
    sizes = dict(zip(page.axes, page.shape, strict=True))
    if not sizes.keys() <= set("YXS"):
        raise BadImage(f"more dimensions than rows, columns and bands ({page.axes})")
    return sizes.get("Y", 1), sizes.get("X", 1), sizes.get("S", 1)


def _read_page(page) -> np.ndarray:
    needs("imagecodecs", "tiff")
    array = page.asarray(maxworkers=1)
    if page.photometric == WHITE_IS_ZERO and array.dtype.kind in "bu" and page.samplesperpixel == 1:
        array = ~array if array.dtype.kind == "b" else array.dtype.type(2**page.bitspersample - 1) - array
    array = np.moveaxis(array, 0, 2) if page.axes.startswith("S") else array.reshape(_page_shape(page))
    return turned(array, _orientation(page))


def _orientation(page) -> int:
    tag = page.tags.get(274)
    return int(tag.value) if tag else 1


def turned(array: np.ndarray, orientation: int) -> np.ndarray:
    """Stored pixels [H, W, C] upright, by their EXIF orientation."""
    turn = {
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
        8: lambda a: np.rot90(a),
    }.get(orientation)
    return np.ascontiguousarray(turn(array)) if turn else array


def read_png(data: bytes) -> np.ndarray:
    """A 16-bit PNG in colour, which Pillow cuts to 8 bits: uint16 [H, W, C], as stored."""
    return needs("imagecodecs", "tiff").png_decode(data)


def numpy_header(stream: IO[bytes]) -> Header:
    layout = _image_layout(stream)
    shape = layout.shape
    height, width, bands = (*shape, 1)[:3] if len(shape) == 2 or not _bands_first(shape) else (*shape[1:], shape[0])
    return array_header((width, height), bands, layout.dtype, 1)


def read_numpy(stream: IO[bytes]) -> np.ndarray:
    """An array [H, W], [H, W, C] or [C, H, W] in a .npy file: the shortest side of three is the channels."""
    shape, dtype, rows_first, start = layout = _image_layout(stream)
    stream.seek(start)
    array = np.frombuffer(stream.read(layout.bytes), dtype)
    array = array.reshape(shape) if rows_first else array.reshape(shape[::-1]).T
    array = array[..., None] if array.ndim == 2 else np.moveaxis(array, 0, 2) if _bands_first(shape) else array
    return np.ascontiguousarray(array, dtype.newbyteorder("="))


def _bands_first(shape: tuple[int, ...]) -> bool:
    return len(shape) == 3 and shape[0] < min(shape[1:])


def _image_layout(stream: IO[bytes]) -> NpyLayout:
    """The header of an array that is one image, all of whose values are there."""
    stream.seek(0)
    layout = npy_layout(stream)
    shape, dtype = layout.shape, layout.dtype
    if len(shape) not in (2, 3):
        raise BadImage(f"an array {list(shape)[:10]} of {dtype}; [H, W] and [H, W, C] of numbers are understood")
    if 0 in shape:
        raise BadImage(f"no pixels (an array {list(shape)})")
    width, height = sorted(shape)[-2:]
    check_size(width, height, dtype.itemsize * (min(shape) if len(shape) == 3 else 1))
    if stream.seek(0, io.SEEK_END) - layout.start < layout.bytes:
        raise BadImage("truncated")
    return layout


def dicom_header(stream: IO[bytes]) -> Header:
    data = _dicom(stream)
    grey, frames = data.get("SamplesPerPixel", 1) == 1, int(data.get("NumberOfFrames", 1) or 1)
    deep = grey and ("RescaleSlope" in data or data.BitsAllocated > 8)
    if frames > MAX_PAGES.get():
        raise BadImage(f"{frames:,} images in one file ({MAX_PAGES.words()})")
    bands = 1 if grey else 3
    size = int(data.Columns), int(data.Rows)
    return Header(size, f"DICOM {data.BitsAllocated}-bit", bands, "other" if deep else "uint8", frames, bands)


def read_dicom(stream: IO[bytes], frames: range) -> np.ndarray:
    """Grey [H, W, frames], bright where dense, or colour uint8 [H, W, 3]. Of the pixels, only those frames are read.

    Grey is float32 in the units of its rescaling; without one, more than 8 bits become a fraction of the largest value.
    """
    data = _dicom(stream)
    pixels = needs("pydicom.pixels", "dicom")
    check_size(int(data.Columns), int(data.Rows), 4 * len(frames))
    stream.seek(0)
    read = pixels.iter_pixels(stream, indices=list(frames))
    array = np.concatenate([_upright_values(data, frame) for frame in read], axis=2)
    if data.get("SamplesPerPixel", 1) > 1 or ("RescaleSlope" not in data and data.BitsAllocated <= 8):
        return array
    if "RescaleSlope" in data:
        with np.errstate(all="ignore"):  # images of numbers that are not finite are left out later
            return array.astype(np.float32) * float(data.RescaleSlope) + float(data.get("RescaleIntercept", 0))
    return array / np.float32(2 ** int(data.BitsStored) - 1)


def _upright_values(data, array: np.ndarray) -> np.ndarray:
    """A frame [H, W, C] whose large values are bright."""
    if data.get("PhotometricInterpretation") == "MONOCHROME1":  # small values are bright
        array = 2 ** int(data.BitsStored) - 1 - array.astype(np.int32)
        array = array.astype(np.uint8) if data.BitsAllocated <= 8 else array
    return array[..., None] if array.ndim == 2 else array


def _dicom(stream: IO[bytes]):
    """What a file says before its pixels, which are not read."""
    reader = needs("pydicom.filereader", "dicom")
    silence_decoders()
    stream.seek(132)
    about = reader.read_dataset(stream, False, True, stop_when=lambda tag, *_: tag >> 16 != 2)
    if str(about.get("TransferSyntaxUID")) == DEFLATED:  # pydicom would unpack it whatever its size
        raise BadImage("DICOM deflated as a whole, which is not read: store it in another transfer syntax")
    stream.seek(0)
    data = reader.dcmread(stream, stop_before_pixels=True)
    check_size(int(data.Columns), int(data.Rows), int(data.BitsAllocated) // 8 * int(data.get("SamplesPerPixel", 1)))
    tag = UNCOMPRESSED.get(str(about.get("TransferSyntaxUID")))
    if tag and data.get("PhotometricInterpretation") != HALVED:
        numbers = int(data.Columns) * int(data.Rows) * int(data.get("SamplesPerPixel", 1))
        bits = numbers * int(data.BitsAllocated) * int(data.get("NumberOfFrames", 1) or 1)
        start = stream.tell() + tag
        if stream.seek(0, io.SEEK_END) - start < bits // 8:
            raise BadImage("truncated")
    return data


def array_header(size: tuple[int, int], bands: int, dtype: np.dtype, pages: int) -> Header:
    """The header of an array of a size (width, height). Raises BadImage if it has no pixels or too many."""
    check_size(*size)
    name = "uint8" if dtype.kind == "b" else dtype.name
    mode = name if bands == 1 else f"{bands}x{name}"
    return Header(size, mode, bands, name if name in ("uint8", "uint16") else "other", pages, bands)
