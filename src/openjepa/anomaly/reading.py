"""What is read of images for all scores at once: patch features, and pixels and energies where they are asked for."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from openjepa.anomaly.energy import Energies
from openjepa.anomaly.patches import PatchFeatures, PatchModel
from openjepa.encoder.baselines import as_fractions

CELL = 4  # pixels, the least height and width of a cell


class Reading(NamedTuple):
    """Of B images of N patches: `features` [B, N, D], `cells` [B, N, K, W] of pixels, `energies` [B, N]; float32."""

    features: Tensor
    cells: Tensor
    energies: Tensor


class Reader:
    """Preprocessed images [B, C, H, W] to one tensor [B, N, R], which `split` takes apart again.

    Without `energies` they are 0; without `pixels` there are no cells.
    """

    def __init__(self, features: PatchFeatures, energies: Energies | None = None, pixels: bool = False) -> None:
        self.features, self.energies, self.pixels = features, energies, pixels

    @property
    def model(self) -> PatchModel:
        return self.features.model

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        features = self.features(images)
        energies = self.energies.maps(images) if self.energies else torch.zeros(features.shape[:2])
        parts = [features, energies.unsqueeze(-1)]
        if self.pixels:
            parts.insert(1, pixel_cells(images, self.model.grid_size).flatten(2))
        return torch.cat(parts, dim=-1)

    def split(self, values: Tensor) -> Reading:
        """What was put into one tensor."""
        number, width = self._cells(values)
        rest = values.shape[-1] - 1 - number * width
        cells = values[..., rest:-1].reshape(*values.shape[:2], number, width)
        return Reading(values[..., :rest], cells, values[..., -1])

    @torch.inference_mode()
    def turned(self, images: Tensor) -> Tensor:
        """Of square images also turned by 90, 180 and 270 degrees: [B, 4 * N, R], the upright one first."""
        return torch.cat([self(torch.rot90(images, quarter, dims=(2, 3))) for quarter in range(4)], dim=1)

    def _cells(self, values: Tensor) -> tuple[int, int]:
        return cells_of(self.model) if self.pixels else (0, 1)


def cells_of(model: PatchModel) -> tuple[int, int]:
    """Cells of a patch of a model, and numbers of a cell."""
    channels = 3 if model.pixel_format is None else model.pixel_format.channels
    return tuple(pixel_cells(torch.zeros(1, channels, *model.image_size), model.grid_size).shape[2:])  # type: ignore


def pixel_cells(images: Tensor, grid_size: tuple[int, int]) -> Tensor:
    """Pixels [B, C, H, W] as float32 [B, N, K, W]: each of the N patches of a grid in K cells of W numbers.

    A patch is divided into as many equal cells as its size allows that are at least `CELL` pixels high and wide. Where
    the grid does not divide the image into whole pixels, the image is resized.
    """
    pixels = as_fractions(images)
    rows, columns = (max(1, round(side / count)) for side, count in zip(pixels.shape[2:], grid_size, strict=True))
    size = rows * grid_size[0], columns * grid_size[1]
    if tuple(pixels.shape[2:]) != size:
        pixels = F.interpolate(pixels, size, mode="bilinear", antialias=True)
    down, across = divisions(rows), divisions(columns)
    cut = pixels.unflatten(3, (grid_size[1], across, -1)).unflatten(2, (grid_size[0], down, -1))
    return cut.permute(0, 2, 5, 3, 6, 1, 4, 7).flatten(5).flatten(3, 4).flatten(1, 2)


def divisions(side: int) -> int:
    """The most equal parts of at least `CELL` whole pixels of so many pixels."""
    return max(parts for parts in range(1, side + 1) if side % parts == 0 and (parts == 1 or side // parts >= CELL))
