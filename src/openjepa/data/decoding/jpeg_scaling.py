"""JPEGs decoded at a half, a quarter or an eighth where the crop allows it: large ones cost a fraction of the time."""

import functools
from collections.abc import Callable

import numpy as np

from openjepa.data.crops import Box, crop_box, size_of
from openjepa.data.dataset import ImageDataset, ImageFiles
from openjepa.data.decoding.pixel_format import Pixels


def load_for_crop(
    dataset: ImageDataset,
    index: int,
    size: tuple[int, int],
    scale: tuple[float, float],
    dice: Callable[[], np.random.Generator],
) -> tuple[Pixels, Box]:
    """The image, and the box in it of `crop_box(width, height, scale, aspect of size, dice())`.

    `dice` gives the same numbers at every call. A JPEG is decoded at the smallest scale at which its crop is no smaller
    than `size`: libjpeg scales blocks while it decodes them, so the box has the same place up to a hundredth of the
    image, and its values differ a little from those of the whole image scaled at once. Raises BadImage.
    """
    full: list[tuple[int, int]] = []

    @functools.cache  # asked for twice where the image may be decoded smaller
    def box_in(width: int, height: int) -> Box:
        return crop_box(width, height, scale, size[1] / size[0], dice())

    def times(width: int, height: int) -> int:
        full.append((width, height))
        if min(width, height) <= 2 * min(size):  # usual for small images; needs no random draw
            return 1
        left, top, right, bottom = box_in(width, height)
        spare = min((right - left) / size[1], (bottom - top) / size[0])
        # A last block that is not full stretches the image: allow a hundredth of its side.
        even = (k for k in (8, 4, 2) if all(-side % k <= side / 100 for side in (width, height)))
        return next((k for k in even if spare >= k), 1)

    image = _loaded(dataset, index, times)
    width, height = full[0] if full else size_of(image)
    box = box_in(width, height)
    x, y = (there / whole for there, whole in zip(size_of(image), (width, height), strict=True))
    return image, (box[0] * x, box[1] * y, min(box[2] * x, size_of(image)[0]), min(box[3] * y, size_of(image)[1]))


def _loaded(dataset: ImageDataset, index: int, times: Callable[[int, int], int]) -> Pixels:
    """The image, read once."""
    if not isinstance(dataset, ImageFiles) or dataset.pages[index]:
        return dataset.load(index)
    return dataset.decode(index, dataset.read(index), times)
