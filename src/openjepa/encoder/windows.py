"""Rectangles of patches."""

from typing import NamedTuple

import torch
from torch import Tensor


class Window(NamedTuple):
    """Patches of a grid: `rows` x `columns` of them from (`top`, `left`) on."""

    top: int
    left: int
    rows: int
    columns: int

    def places(self, columns: int) -> Tensor:
        """The numbers of its patches in a grid of so many `columns`, row by row."""
        down = torch.arange(self.top, self.top + self.rows)
        return (down[:, None] * columns + torch.arange(self.left, self.left + self.columns)).flatten()

    def pixels(self, patch_size: int) -> tuple[slice, slice]:
        """The rows and columns of an image of such a grid that it covers."""
        top, left = self.top * patch_size, self.left * patch_size
        return slice(top, top + self.rows * patch_size), slice(left, left + self.columns * patch_size)
