"""Images as a Python program gives them: PIL images, arrays, tensors."""

from collections.abc import Iterable

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from openjepa.data.decoding.pillow import native, upright_rgb
from openjepa.data.decoding.pixel_format import RGB, PixelFormat, Pixels, fit
from openjepa.errors import BadImage, UsageError

Images = Image.Image | np.ndarray | Tensor | Iterable[Image.Image | np.ndarray]


def as_read(images: Images, pixel_format: PixelFormat = RGB) -> list[Pixels]:
    """A list of images as a pixel format has them; raises UsageError for anything that is not images."""
    if isinstance(images, Tensor):
        images = _as_array(images)
    if isinstance(images, Image.Image) or (isinstance(images, np.ndarray) and images.ndim < 4):
        images = [images]
    if isinstance(images, str | bytes) or not isinstance(images, Iterable):
        raise UsageError(f"cannot read {type(images).__name__} as images: give PIL images or arrays [H, W, C]")
    read = [
        _from_pil(image, pixel_format) if isinstance(image, Image.Image) else _from_array(image, pixel_format)
        for image in images
    ]
    if not read:
        raise UsageError("no images given: give at least one")
    return read


def _as_array(images: Tensor) -> np.ndarray:
    """A tensor [B, C, H, W] as an array [B, H, W, C], bfloat16 as float32; any other shape stays as it is."""
    images = images.detach().cpu()
    array = (images.float() if images.dtype == torch.bfloat16 else images).numpy()
    return array.transpose(0, 2, 3, 1) if array.ndim == 4 else array


def _from_pil(image: Image.Image, pixel_format: PixelFormat) -> Pixels:
    if pixel_format.picture:
        rgb = upright_rgb(image)
        return rgb if pixel_format.channels == 3 else rgb.convert("L")
    try:
        return fit(native(image, pixel_format.channels), pixel_format)
    except BadImage as error:
        raise UsageError(f"cannot read a PIL image of mode {image.mode}: {error}") from error


def _from_array(array: np.ndarray, pixel_format: PixelFormat) -> Pixels:
    kind = "uint8 " if pixel_format == RGB else ""
    wanted = f"give PIL images or {kind}arrays [H, W, {pixel_format.channels}]"
    if not isinstance(array, np.ndarray):
        raise UsageError(f"cannot read {type(array).__name__} as an image: {wanted}")
    given = f"cannot read {array.dtype} {list(array.shape)} as an image"
    if array.ndim != 3 or array.dtype.kind not in "buif":
        raise UsageError(f"{given}: {wanted}")
    if pixel_format == RGB:
        if array.dtype != np.uint8 or array.shape[2] != 3:
            raise UsageError(f"{given}: {wanted}")
        return Image.fromarray(array)
    try:
        return fit(array, pixel_format)
    except BadImage as error:
        raise UsageError(f"{given} ({error}): {wanted}") from error
