"""The scores of images, each from the normal images that it was fitted on: memory, density, pixels, image, energy."""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from openjepa.anomaly.density import ImageDensity, PlaceDensity
from openjepa.anomaly.memory import CellMemory, PatchMemory
from openjepa.anomaly.reading import Reading

HIGHEST = 0.01  # fraction of patches whose mean is the score of an image, as in AnomalyDINO
SCORES = {
    "memory": "distance from the nearest patch of normal images",
    "density": "distance from the distribution of normal patches at the same place",
    "pixels": "distance of its pixels, in small cells, from the nearest ones of normal images",
    "image": "distance from the distribution of normal images as a whole",
    "energy": "how badly the predictor foretells a patch, beside normal images at that place",
}


class Score(NamedTuple):
    """What one score says of images: `images` [B], and `maps` [B, N] if it says it of patches; higher is odder."""

    images: Tensor
    maps: Tensor | None


class Part(Protocol):
    """One score."""

    def __call__(self, reading: Reading) -> Score:
        """Of what was read of images."""
        ...


class MemoryPart:
    def __init__(self, memory: PatchMemory) -> None:
        self.memory = memory

    def __call__(self, reading: Reading) -> Score:
        return of_maps(self.memory.distances(reading.features))

    def left_out(self, reading: Reading, numbers: Tensor) -> Score:
        """Of normal images in the memory, each as if it were not; `numbers` [B] are those they are in there by."""
        return of_maps(self.memory.distances(reading.features, without=numbers))


class DensityPart:
    def __init__(self, density: PlaceDensity) -> None:
        self.density = density

    def __call__(self, reading: Reading) -> Score:
        return of_maps(self.density.distances(reading.features))


class PixelPart:
    def __init__(self, memory: CellMemory) -> None:
        self.memory = memory

    def __call__(self, reading: Reading) -> Score:
        return of_maps(self.memory.distances(reading.cells))


class ImagePart:
    def __init__(self, density: ImageDensity) -> None:
        self.density = density

    def __call__(self, reading: Reading) -> Score:
        return Score(self.density.distances(reading.features), None)


class EnergyPart:
    """Energies in standard deviations above those of normal images at the same place: `mean` and `std` [N]."""

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        self.mean, self.std = mean, std

    def __call__(self, reading: Reading) -> Score:
        return of_maps((reading.energies - self.mean) / self.std)


@torch.inference_mode()
def score_all(parts: dict[str, Part], reading: Reading) -> dict[str, Score]:
    """The scores of images by name, from what was read of them."""
    return {name: part(reading) for name, part in parts.items()}


def of_maps(maps: Tensor) -> Score:
    """The score of images from that of their patches [B, N]: the mean of the highest, at least one."""
    count = max(1, round(HIGHEST * maps.shape[1]))
    return Score(maps.topk(count, dim=1).values.mean(dim=1), maps)
