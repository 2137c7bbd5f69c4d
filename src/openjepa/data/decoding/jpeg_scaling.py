"""JPEGs decoded at a half, a quarter or an eighth where the crop allows it: large ones cost a fraction of the time."""

import io
from collections.abc import Callable

import numpy as np

from openjepa.data.crops import crop_box
from openjepa.data.dataset import ImageDataset, ImageFiles
from openjepa.data.decoding.pixel_format import Pixels
from openjepa.data.decoding.read import read_pixels

JPEG = b"\xff\xd8"


def load_for_crop(
    dataset: ImageDataset,
    index: int,
    size: tuple[int, int],
    scale: tuple[float, float],
    dice: Callable[[], np.random.Generator],
) -> Pixels:
    """The image for `random_resized_crop(image, size, scale, dice())`; `dice` gives the same numbers at every call.

    A JPEG is decoded at the smallest scale at which its crop is no smaller than `size`: libjpeg scales blocks while it
    decodes them, so the crop has the same place up to a hundredth of the image, and its values differ a little from
    those of the whole image scaled at once. Every other image is what `load` gives. Raises BadImage.
    """
    data = dataset.read(index) if isinstance(dataset, ImageFiles) else b""
    if not data.startswith(JPEG):
        return dataset.load(index)

    def times(width: int, height: int) -> int:
        if min(width, height) <= 2 * min(size):  # usual for small images; needs no random draw
            return 1
        left, top, right, bottom = crop_box(width, height, scale, size[1] / size[0], dice())
        spare = min((right - left) / size[1], (bottom - top) / size[0])
        # A last block that is not full stretches the image: allow a hundredth of its side.
        even = (k for k in (8, 4, 2) if all(-side % k <= side / 100 for side in (width, height)))
        return next((k for k in even if spare >= k), 1)

    return read_pixels(io.BytesIO(data), dataset.pixel_format, times=times)
