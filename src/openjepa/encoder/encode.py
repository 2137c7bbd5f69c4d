"""Images or files to arrays of embeddings, with the keywords of sentence-transformers."""

import contextlib
import io
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from openjepa.console import counting
from openjepa.data.crops import resize_centre_crop
from openjepa.data.decoding.pixel_format import RGB, PixelFormat, Pixels
from openjepa.data.decoding.read import read_pixels
from openjepa.encoder.features import Model
from openjepa.encoder.given_images import as_read
from openjepa.errors import BadImage, UsageError, unknown
from openjepa.safety.limits import MAX_FILE_BYTES

PRECISIONS = ("float32", "float16", "int8", "uint8", "binary", "ubinary")
LEVELS = 255
Path = str | os.PathLike[str]


def read_file(name: Path, pixel_format: PixelFormat = RGB) -> Pixels:
    """An image file as a model reads it. Raises UsageError."""
    shown = os.fspath(name)
    try:
        with open(name, "rb") as stream:
            if os.path.getsize(name) > (most := MAX_FILE_BYTES.get()):
                raise UsageError(f"{shown} is larger than {most:,} bytes, the most of an image that is read")
            return read_pixels(stream, pixel_format)
    except BadImage as error:
        raise UsageError(f"{shown} cannot be read as an image ({error}): give another one") from error
    except (OSError, ValueError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(
            f"{shown} cannot be read ({getattr(error, 'strerror', None) or error}): give an image"
        ) from error


def read_bytes(data: bytes, pixel_format: PixelFormat = RGB) -> Pixels:
    """The bytes of an image file as a model reads it. Raises UsageError."""
    try:
        return read_pixels(io.BytesIO(data), pixel_format)
    except BadImage as error:
        raise UsageError(f"this cannot be read as an image ({error}): give another one") from error


def encoded(
    model: Model,
    images: Any,
    batch_size: int = 32,
    show_progress_bar: bool = False,
    normalize_embeddings: bool = False,
    precision: str = "float32",
    truncate_dim: int | None = None,
) -> np.ndarray:
    """`Encoder.encode` for any model."""
    if precision not in PRECISIONS:
        raise UsageError(unknown("precision", precision, PRECISIONS))
    if batch_size < 1 or (truncate_dim is not None and truncate_dim < 1):
        raise UsageError("batch_size and truncate_dim are possible from 1 on")
    given, single = as_list(images)
    parts = [part[:, :truncate_dim] for part in _features(model, given, batch_size, show_progress_bar)]
    vectors = torch.cat(parts)
    vectors = torch.nn.functional.normalize(vectors) if normalize_embeddings else vectors
    found = quantized(vectors.numpy(), precision)
    return found[0] if single else found


def _features(model: Model, images: list[Any], batch_size: int, shown: bool) -> Iterator[Tensor]:
    with counting("encoding images") if shown else contextlib.nullcontext() as progress:
        for start in range(0, len(images), batch_size):
            yield model.features(_batch(model, images[start : start + batch_size]))
            if progress:
                progress(min(start + batch_size, len(images)), len(images))


def _batch(model: Model, images: Sequence[Any]) -> Tensor:
    """Images and files as a model reads them: [b, C, H, W]."""
    wanted = model.pixel_format or RGB
    pixels = [
        read_file(one, wanted) if isinstance(one, str | os.PathLike) else as_read(one, wanted)[0] for one in images
    ]
    crops = [np.array(resize_centre_crop(each, *model.frame)) for each in pixels]
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2)


def as_list(images: Any) -> tuple[list[Any], bool]:
    """The images of a call one by one, and whether it was given a single one. UsageError for none."""
    if isinstance(images, str | os.PathLike | Image.Image) or getattr(images, "ndim", None) == 3:
        return [images], True
    if isinstance(images, Tensor) and images.ndim == 4:
        images = images.detach().cpu().permute(0, 2, 3, 1).numpy()
    try:
        found = list(images)
    except TypeError as error:
        raise UsageError(f"cannot read {type(images).__name__} as images: give paths, PIL images or arrays") from error
    if not found:
        raise UsageError("no images given: give at least one")
    return found, False


def quantized(vectors: np.ndarray, precision: str) -> np.ndarray:
    """Vectors [n, D] float32 in fewer bits.

    float16        rounded
    uint8, int8    255 equal steps from the least to the largest value of each dimension among these vectors, from 0 or
                   from -128 on
    ubinary, binary  a bit for each number, whether it is positive: [n, ceil(D / 8)], as uint8 or, less 128, as int8
    """
    if precision == "float32":
        return vectors
    if precision == "float16":
        return vectors.astype(np.float16)
    if precision in ("uint8", "int8"):
        low, high = vectors.min(axis=0), vectors.max(axis=0)
        steps = (vectors - low) / np.where(high > low, (high - low) / LEVELS, 1)
        return steps.astype(np.uint8) if precision == "uint8" else (steps - 128).astype(np.int8)
    bits = np.packbits(vectors > 0, axis=1)
    return bits if precision == "ubinary" else (bits.astype(np.int16) - 128).astype(np.int8)
