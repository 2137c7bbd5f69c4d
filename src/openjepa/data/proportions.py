"""The proportions of a set of images: the image size that suits them, and what of them a model sees."""

import math
from collections.abc import Sequence

import numpy as np

from openjepa.data.crops import Frame, stretch

Sizes = Sequence[tuple[int, int, int]]  # (width, height, images)
MORE_OR_LESS = 1.25  # factor by which the number of patches may change
LONGEST = 4.0  # the longer over the shorter side of a chosen image size, at most
MIXED = 0.1  # fraction of the images that are upright, and that are lying, from which a set is of mixed orientation


def suited_sizes(sizes: Sizes, like: Frame, patch_size: int) -> list[tuple[int, int]]:
    """Image sizes (rows, columns) with about as many patches as that of `like`, the one that suits images best first.

    It has the images' median proportions, up to 1:4. It is the size of `like` where that already sees such images
    whole, and where at least a tenth of the images are upright and a tenth are lying.
    """
    aspect = min(max(median_aspect(sizes), 1 / LONGEST), LONGEST)
    if _mixed(sizes, like.max_stretch) or like.fraction(aspect, 1.0) == 1:
        return [like.size]
    patches = math.prod(like.size) // patch_size**2
    sides = range(1, math.isqrt(patches * round(LONGEST)) + 2)
    grids = [(rows, columns) for rows in sides for columns in sides]
    grids = [grid for grid in grids if MORE_OR_LESS**-1 <= math.prod(grid) / patches <= MORE_OR_LESS]

    def misfit(grid: tuple[int, int]) -> tuple[bool, float, int]:
        """Whether the images are not seen whole; how far proportions and number of patches are off; that number."""
        stretched, count = stretch(aspect, 1.0, grid), math.prod(grid)
        return stretched > 1 + like.max_stretch, round(math.log(stretched) + abs(math.log(count / patches)), 6), count

    return [(rows * patch_size, columns * patch_size) for rows, columns in sorted(grids, key=misfit)]


def proportions_in_words(sizes: Sizes) -> str:
    """Width over height of the images."""
    aspects = sorted(width / height for width, height, _ in sizes)
    low, median, high = (f"{value:.2f}" for value in (aspects[0], median_aspect(sizes), aspects[-1]))
    return f"all {median} (width / height)" if low == high else f"{low} to {high} (width / height), median {median}"


def seen_lines(sizes: Sizes, frame: Frame) -> list[str]:
    """A line for the user where a model does not see all of some images, else none."""
    return [] if unseen(sizes, frame)[1] < 0.005 else [f"note: {seen_in_words(sizes, frame)}"]


def median_aspect(sizes: Sizes) -> float:
    """The median of width over height."""
    ordered = sorted((width / height, images) for width, height, images in sizes)
    upto = np.cumsum([images for _, images in ordered])
    return ordered[int(np.searchsorted(upto, upto[-1] / 2))][0]


def unseen(sizes: Sizes, frame: Frame) -> tuple[float, float]:
    """The fraction of an image's pixels that a model does not see: the mean over the images, and the largest."""
    lost = np.array([1 - frame.fraction(width, height) for width, height, _ in sizes])
    return float(np.average(lost, weights=[images for *_, images in sizes])), float(lost.max())


def seen_in_words(sizes: Sizes, frame: Frame) -> str:
    """What of the images a model sees."""
    mean, most = unseen(sizes, frame)
    which = f"images of {sizes[0][0]}x{sizes[0][1]} (width x height)" if len(sizes) == 1 else "images"
    if most == 0:
        by = max(stretch(width, height, frame.size) for width, height, _ in sizes) - 1
        up_to = "up to " * (len(sizes) > 1)
        return f"{which} are seen whole" + (f", stretched by {up_to}{by:.0%}" if by >= 0.005 else "")
    lost = f"{most:.0%} of each is" if most - mean < 0.005 else f"{mean:.0%} of their pixels are"
    up_to = f", up to {most:.0%} of an image" * (most - mean >= 0.005)
    return f"{which} are cropped to the centre: {lost} not seen{up_to}"


def _mixed(sizes: Sizes, max_stretch: float) -> bool:
    """Whether at least a tenth of the images are upright and a tenth are lying, by more than `max_stretch`."""
    total = sum(images for *_, images in sizes)
    lying = sum(images for width, height, images in sizes if width > height * (1 + max_stretch))
    upright = sum(images for width, height, images in sizes if height > width * (1 + max_stretch))
    return min(lying, upright) >= MIXED * total
