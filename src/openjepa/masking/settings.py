"""What to mask, and what a batch of masks is."""

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor


@dataclass(frozen=True)
class MaskSettings:
    """What to mask. Scales and ratios are fractions of the grid; `target_aspect_ratio` is height over width.

    `strategy` is a name in `openjepa.masking.samplers.STRATEGIES`; `masks_per_image` counts the layouts that an image
    is given in a step. `num_targets` is M, the target blocks of an image.
    """

    grid_size: tuple[int, int]
    strategy: str = "multiblock"
    num_targets: int = 4
    target_scale: tuple[float, float] = (0.15, 0.2)
    target_aspect_ratio: tuple[float, float] = (0.75, 1.5)
    context_scale: tuple[float, float] = (0.85, 1.0)
    context_ratio: float = 0.25
    masks_per_image: int = 1

    @property
    def num_patches(self) -> int:
        return self.grid_size[0] * self.grid_size[1]

    @property
    def name(self) -> str:
        """The strategy, and how many masks an image is given where that is more than one."""
        return self.strategy + f", {self.masks_per_image} masks per image" * (self.masks_per_image > 1)

    @property
    def context_length(self) -> int:
        """Nc, the same for every image and batch."""
        return max(1, round(self.context_ratio * self.num_patches))


class Masks(NamedTuple):
    """context_ids [B, Nc] and target_ids [B, M, Nt], int64, ascending; `redrawn` counts images given a spare layout."""

    context_ids: Tensor
    target_ids: Tensor
    redrawn: int = 0
