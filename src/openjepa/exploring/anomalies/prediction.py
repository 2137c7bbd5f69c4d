"""What the predictor of an index's model foretells: the energy of each patch, and what is expected in a hidden box."""

import threading
from collections.abc import Iterator
from time import monotonic
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from torch import Tensor

from openjepa.anomaly.energy import PIXELS, Energies
from openjepa.anomaly.nearest_patches import RealPatches
from openjepa.data.crops import Box, Frame, size_of
from openjepa.encoder.features import Progress, no_progress
from openjepa.errors import UsageError
from openjepa.exploring.anomalies.images import Given, ModelImages
from openjepa.indexing.expectation import Expectation, expect
from openjepa.indexing.real_patches import ImagePatches, IndexPatches, PatchSource, Shown, asked_of
from openjepa.indexing.regions import Boxed, patch_at, pixels_of, window_of
from openjepa.runs.detectors import GIVE, is_own, open_energies

DRAWS = 4
SECONDS = 60.0  # in which patches are compared; with what is read by then the answer is given
MOST_READ = 256  # images that are read by the model where the index keeps no patch tokens


class EnergyMap(NamedTuple):
    """The energy [rows, columns] of each patch of what a `frame` shows of an image of `size` (width, height)."""

    map: Tensor
    frame: Frame
    size: tuple[int, int]


class Near(NamedTuple):
    """A real patch of the image at a place of the index: its energy, and its box (pixels) in that image."""

    energy: float
    image: int
    size: tuple[int, int]
    box: tuple[int, int, int, int]


class Expected(NamedTuple):
    """What is expected in a box of an image, how much of the box the model sees, and for each hidden patch the nearest
    real ones, the first draw's."""

    found: Expectation
    boxed: Boxed
    near: list[list[Near]]


class Predicting:
    """The predictor of an index's model; it is opened when it is first asked for."""

    def __init__(self, images: ModelImages) -> None:
        self.images = images
        self._opening = threading.Lock()
        self._energies: Energies | None = None

    @property
    def energies(self) -> Energies:
        """Raises UsageError for a model without a predictor, and for one that cannot be opened."""
        model, (name, step) = self.images.model, self.images.index.model_name
        with self._opening:
            if self._energies is None:
                if not is_own(model):
                    raise UsageError(f"{name} has no predictor, which energy needs: {GIVE}")
                self._energies = open_energies(name, step, encoder=model)
            return self._energies

    def energy(self, image: Given) -> EnergyMap:
        """How badly each patch of an image is foretold by what surrounds it. Raises UsageError."""
        energies, pixels = self.energies, self.images.pixels(image)
        asked = asked_of(self.images.name(image), pixels, energies)
        found = energies.maps(asked.image[None])[0].unflatten(0, energies.grid_size)
        if not found.isfinite().all():
            raise UsageError(f"{energies.encoder.name} gives numbers that are not finite: its weights are damaged")
        return EnergyMap(found, energies.encoder.frame, size_of(pixels))

    def expected(self, image: Given, fractions: Box, top: int) -> Expected:
        """What is expected in a box, in fractions of an image, beside patches of the index. Raises UsageError."""
        energies, name = self.energies, self.images.name(image)
        asked = asked_of(name, self.images.pixels(image), energies)
        width, height = asked.shown.size
        box = fractions[0] * width, fractions[1] * height, fractions[2] * width, fractions[3] * height
        boxed = window_of(box, (width, height), energies.encoder.frame, energies.grid_size, name)
        source = self._patches(energies, image, asked.image)
        found = expect(energies, asked, boxed.window, _Within(source, SECONDS), DRAWS, top, 0, no_progress)
        return Expected(found, boxed, self._near(found, source))

    def _near(self, found: Expectation, source: PatchSource) -> list[list[Near]]:
        """The nearest real patches of each hidden one; those of images that the index does not have are left out."""
        rows = [found.nearest(0, row) for row in range(len(found.places))]
        numbers = sorted({one.image for row in rows for one in row})
        places = dict(zip(numbers, self._places(source, numbers), strict=True))
        known = [place for place in places.values() if place is not None]
        sizes = dict(zip(known, self.images.index.sizes_at(known), strict=True))
        frame, grid = found.energies.encoder.frame, found.energies.grid_size
        near = [[(one, place) for one in row if (place := places[one.image]) is not None] for row in rows]
        return [
            [
                Near(one.energy, place, sizes[place], pixels_of(patch_at(one.place, grid), sizes[place], frame, grid))
                for one, place in row
            ]
            for row in near
        ]

    def _places(self, source: PatchSource, numbers: list[int]) -> list[int | None]:
        """The places in the index of images of a source by their numbers."""
        if isinstance(source, ImagePatches):
            names = pa.array([source.dataset.paths[number] for number in numbers], pa.string())
            return pc.index_in(names, self.images.index.paths).to_pylist()
        return [*numbers]

    def _patches(self, energies: Energies, image: Given, crop: Tensor) -> PatchSource:
        """The patch tokens of the index, or a few images that are read where these are not what is foretold."""
        if self.images.index.has_patches and energies.method != PIXELS:
            return IndexPatches(self.images.index, energies, self.images.digest(image))
        return ImagePatches(self.images.source()[0], energies, crop, MOST_READ, 0, workers=0)


class _Within:
    """The patches of a source that are read within some seconds, in the order of the source."""

    def __init__(self, source: PatchSource, seconds: float) -> None:
        self.source, self.seconds = source, seconds
        self.skipped, self.available = source.skipped, source.available

    def blocks(self, progress: Progress = no_progress) -> Iterator[RealPatches]:
        end = monotonic() + self.seconds
        for block in self.source.blocks(progress):
            yield block
            if monotonic() > end:
                return

    def shown(self, number: int) -> Shown:
        return self.source.shown(number)
