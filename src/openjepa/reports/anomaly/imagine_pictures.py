"""Pictures of what is expected in a hidden region: real patches in its place, and each in its surroundings."""

from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor

from openjepa.encoder.windows import Window
from openjepa.reports.drawing import PALETTE, TILE, VEIL, at_display_size, outline

AROUND = 8  # patches to a side of what is shown around one
LINE = 2  # pixels


def patch_at(place: int, grid_size: tuple[int, int]) -> Window:
    return Window(*divmod(place, grid_size[1]), 1, 1)


def pixels_at(window: Window, picture: np.ndarray, grid_size: tuple[int, int]) -> tuple[slice, slice]:
    """The rows and columns of a picture [H, W, 3] of what a model sees that a window covers."""
    high, wide = picture.shape[0] // grid_size[0], picture.shape[1] // grid_size[1]
    top, left = window.top * high, window.left * wide
    return slice(top, top + window.rows * high), slice(left, left + window.columns * wide)


def pasted(
    picture: np.ndarray, here: Window, other: np.ndarray, there: Window, grid_size: tuple[int, int]
) -> np.ndarray:
    """A picture with what another picture of the same size shows `there`, in the window `here`."""
    changed = picture.copy()
    changed[pixels_at(here, changed, grid_size)] = other[pixels_at(there, other, grid_size)]
    return changed


def filled(
    picture: np.ndarray,
    window: Window,
    nearest: Sequence[tuple[int, int]],
    picture_of: Callable[[int], np.ndarray],
    grid_size: tuple[int, int],
) -> np.ndarray:
    """A picture with a real patch (number of its image, place) for each of a window, row by row."""
    changed = picture
    for place, (image, there) in zip(window.places(grid_size[1]).tolist(), nearest, strict=True):
        changed = pasted(changed, patch_at(place, grid_size), picture_of(image), patch_at(there, grid_size), grid_size)
    return changed


def hidden_picture(
    picture: np.ndarray, window: Window, context: Tensor, grid_size: tuple[int, int], blank: bool = False
) -> np.ndarray:
    """A picture at display size: dimmed where nothing is visible, and outlined where patches are hidden.

    context [Nc] are the visible patches; the window keeps its pixels, or with `blank` has none.
    """
    large = at_display_size(picture, grid_size)
    shown = np.zeros(grid_size[0] * grid_size[1], bool)
    shown[context.numpy()] = True
    shown = shown.reshape(grid_size)
    shown[window.top : window.top + window.rows, window.left : window.left + window.columns] = not blank
    seen = shown.repeat(large.shape[0] // grid_size[0], axis=0).repeat(large.shape[1] // grid_size[1], axis=1)
    large = np.where(seen[..., None], large, 0.22 * large + 0.78 * VEIL).round().astype(np.uint8)
    if blank:
        large[pixels_at(window, large, grid_size)] = VEIL
    return outlined(large, window, grid_size)


def outlined(picture: np.ndarray, window: Window, grid_size: tuple[int, int]) -> np.ndarray:
    """A picture with the edge of a window marked."""
    inside = np.zeros(picture.shape[:2], bool)
    inside[pixels_at(window, picture, grid_size)] = True
    picture = picture.copy()
    picture[outline(inside, LINE)] = PALETTE[0]
    return picture


def in_surroundings(picture: np.ndarray, place: int, grid_size: tuple[int, int]) -> np.ndarray:
    """A patch of a picture, outlined among up to 8 x 8 patches around it, at least about as large as a tile."""
    row, column = divmod(place, grid_size[1])
    shape = min(AROUND, grid_size[0]), min(AROUND, grid_size[1])
    top, left = (
        min(max(0, at - size // 2), side - size) for at, size, side in zip((row, column), shape, grid_size, strict=True)
    )
    cut = picture[pixels_at(Window(top, left, *shape), picture, grid_size)]
    factor = max(1, -(-TILE // max(cut.shape[:2])))
    large = cut.repeat(factor, axis=0).repeat(factor, axis=1)
    return outlined(large, Window(row - top, column - left, 1, 1), shape)
