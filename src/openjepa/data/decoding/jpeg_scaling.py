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

    A JPEG read from a file is as small as leaves its crop no smaller than `size`: its blocks are scaled as they are
    decoded (libjpeg), so the crop is of the same place up to a hundredth of the image, and its values differ a little
    from those of the whole image scaled at once. Every other image is what `load` gives. A pure function, as `load` is.
    Raises BadImage.
    """
    data = dataset.read(index) if isinstance(dataset, ImageFiles) else b""
    if not data.startswith(JPEG):
        return dataset.load(index)

    def times(width: int, height: int) -> int:
        if min(width, height) <= 2 * min(size):  # the usual case of small images, told without a draw
            return 1
        left, top, right, bottom = crop_box(width, height, scale, size[1] / size[0], dice())
        spare = min((right - left) / size[1], (bottom - top) / size[0])
        # What does not fill a last block stretches the image: a hundredth of its side at most.
        even = (k for k in (8, 4, 2) if all(-side % k <= side / 100 for side in (width, height)))
        return next((k for k in even if spare >= k), 1)

    return read_pixels(io.BytesIO(data), dataset.pixel_format, times=times)
