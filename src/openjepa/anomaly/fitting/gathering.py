"""What all scores need of normal images, gathered a batch at a time in bounded memory."""

from collections.abc import Sequence

import torch

from openjepa.anomaly.density import Moments, image_density, narrowed, place_density
from openjepa.anomaly.energy import EnergyMoments
from openjepa.anomaly.memory import CANDIDATES, PATCHES, Reservoir, make_cell_memory, make_memory
from openjepa.anomaly.reading import Reading
from openjepa.anomaly.scorer import DensityPart, EnergyPart, ImagePart, MemoryPart, Part, PixelPart

MOST_MEANS = 20_000  # images of which the density of whole images is fitted


class Gathered:
    """Patches and cells for memories of at most `patches`, moments of every place, and mean features of images."""

    def __init__(self, scores: Sequence[str], patches: int = PATCHES, coreset: str = "greedy") -> None:
        self.scores, self.patches, self.coreset = scores, patches, coreset
        self.candidates, self.moments = Reservoir(CANDIDATES * patches), Moments()
        self.cells = Reservoir(CANDIDATES * patches // 2)
        self.means, self.energies = Reservoir(MOST_MEANS), EnergyMoments()
        self.images = 0

    def add(self, reading: Reading, views: int = 1) -> None:
        """What was read of normal images, each of which is there `views` times, one after the other."""
        features, cells = reading.features, reading.cells.flatten(0, 2)
        images = len(features) // views
        numbers = torch.arange(self.images, self.images + images).repeat_interleave(views)
        self.images += images
        if "memory" in self.scores:
            self.candidates.add(features.flatten(0, 1), numbers.repeat_interleave(features.shape[1]))
        if "pixels" in self.scores:
            self.cells.add(cells, torch.zeros(len(cells), dtype=torch.int64))
        if "density" in self.scores:
            self.moments.add(features)
        if "image" in self.scores:
            self.means.add(narrowed(features).mean(dim=1), numbers)
        if "energy" in self.scores:
            self.energies.add(reading.energies)

    def parts(self) -> dict[str, Part]:
        """The scores that the images allow: that of whole images needs two."""
        found: dict[str, Part] = {}
        for name in self.scores:
            if name == "memory":
                memory = make_memory(self.candidates.features, self.candidates.owners, self.patches, self.coreset)
                found[name] = MemoryPart(memory)
            if name == "density":
                found[name] = DensityPart(place_density(self.moments))
            if name == "pixels":
                found[name] = PixelPart(make_cell_memory(self.cells.features, self.patches // 2 or 1, self.coreset))
            if name == "image" and self.images > 1:
                found[name] = ImagePart(image_density(self.means.features))
            if name == "energy":
                found[name] = EnergyPart(*self.energies.mean_and_std())
        return found
