"""What to mask, and the shapes that blocks can take."""

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

LEVELS = 64
STRATEGIES = ("multiblock", "block", "random", "rasterized", "reference")


@dataclass(frozen=True)
class MaskSettings:
    """What to mask. Scales and ratios are shares of the grid; `target_aspect_ratio` is height over width.

    `strategy`: "multiblock" (the paper's), "block", "random", "rasterized" (its table 6), or "reference" (the published
    code's behaviour, faults included; see masking/published.py). `masks_per_image`: layouts of an image in a step.
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
        if self.strategy == "rasterized":
            return self.num_patches // 4
        return max(1, round(self.context_ratio * self.num_patches))


class Masks(NamedTuple):
    """context_ids [B, Nc] and target_ids [B, M, Nt], int64, ascending; `redrawn` counts images given a spare layout."""

    context_ids: Tensor
    target_ids: Tensor
    redrawn: int = 0


def strategy_settings(strategy: str) -> dict:
    """The settings that the paper's table 6 gives a strategy other than multi-block."""
    whole = {"num_targets": 1, "target_scale": (0.6, 0.6), "context_scale": (1.0, 1.0)}
    return {"block": whole, "random": whole, "rasterized": {"num_targets": 3, "context_ratio": 0.25}}.get(strategy, {})


def between(bounds: tuple[float, float], level: int) -> float:
    """One of LEVELS evenly spaced values within bounds: few enough for check_masks to try every shape there is."""
    return bounds[0] + (bounds[1] - bounds[0]) * (level + 0.5) / LEVELS


def target_shape(settings: MaskSettings, scale_level: int, aspect_level: int) -> tuple[int, int]:
    """Rows and columns of the target blocks of a step; area and aspect are independent of each other."""
    area = between(settings.target_scale, scale_level) * settings.num_patches
    aspect = between(settings.target_aspect_ratio, aspect_level)
    rows, columns = settings.grid_size
    return min(rows, max(1, round((area * aspect) ** 0.5))), min(columns, max(1, round((area / aspect) ** 0.5)))


def context_shape(settings: MaskSettings, level: int) -> tuple[int, int]:
    """Rows and columns of the context block of a step; it has the aspect of the grid."""
    shrink = between(settings.context_scale, level) ** 0.5
    rows, columns = settings.grid_size
    return max(1, round(rows * shrink)), max(1, round(columns * shrink))
