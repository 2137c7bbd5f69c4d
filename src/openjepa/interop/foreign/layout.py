"""Where the patch tokens are in what a network of another library returns."""

import math

from openjepa.encoder.foreign import Layout

MOST_PREFIX = 32  # class tokens and registers


def layout_of(
    tokens: int, image_size: tuple[int, int], grid_size: tuple[int, int] | None, prefix: int | None, class_token: bool
) -> Layout:
    """The layout of a sequence of `tokens` for an image.

    grid_size   (rows, columns) of the first layer's patches, where known; deeper layers may have fewer
    prefix      tokens before the patches, where known
    class_token whether the first of these, if any, is a class token

    Without patch tokens where no grid fits, as for a sequence that is not of patches.
    """
    if grid_size and 0 <= tokens - math.prod(grid_size) <= MOST_PREFIX:
        prefix = tokens - math.prod(grid_size)
        return Layout(grid_size, prefix, class_token and prefix > 0)
    side = math.isqrt(tokens - (prefix or 0))
    prefix = tokens - side**2 if prefix is None else prefix
    square = side > 1 and side**2 == tokens - prefix and image_size[0] == image_size[1]
    if not square or image_size[0] % side or prefix > MOST_PREFIX:
        return Layout()
    return Layout((side, side), prefix, class_token and prefix > 0)
