"""What a predictor expects in a region of an image, with the names and places of the real patches that tell it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import floor
from typing import Any, NamedTuple

import torch
from torch import Tensor

from openjepa.anomaly.energy import Energies
from openjepa.anomaly.imagination import Imagined, imagine
from openjepa.encoder.features import Progress
from openjepa.encoder.windows import Window
from openjepa.errors import UsageError
from openjepa.indexing.real_patches import Asked, PatchSource, Shown
from openjepa.indexing.regions import BOX, patch_at, pixels_of

TRUE, NEAREST = "true region", "nearest"
IMAGE = "region of another image"  # as it is there; others are pasted into the box:
REGION, PASTED, NOISE = "other region, pasted", "other image, pasted", "noise, pasted"
COLUMNS = ("draw", "patch", "content", "rank", "energy", "path", "from_patch", *BOX)


class Content(NamedTuple):
    """Something that is put where a region is hidden: its energies [draws, n, Nt] for n of its kind."""

    name: str
    energies: Tensor

    @property
    def means(self) -> list[float]:
        """The mean energy of each draw."""
        return self.energies.mean(dim=(1, 2)).tolist()


class Found(NamedTuple):
    """A real patch of an image, and its energy."""

    energy: float
    image: int
    place: int


@dataclass(frozen=True)
class Expectation:
    """`imagined` in an image that was `asked` about; real patches are of a `source`, or of that image where it is None.

    energies  the networks
    """

    asked: Asked
    imagined: Imagined
    source: PatchSource | None
    energies: Energies
    _shown: dict[int, Shown] = field(default_factory=dict)

    @property
    def places(self) -> list[int]:
        """The hidden patches, row by row."""
        return self.imagined.hidden[0].targets.tolist()

    def shown(self, number: int) -> Shown:
        """An image by its number, -1 for the one that was asked about."""
        if number < 0 or self.source is None:
            return self.asked.shown
        if number not in self._shown:
            self._shown[number] = self.source.shown(number)
        return self._shown[number]

    def nearest(self, draw: int, row: int) -> list[Found]:
        """The real patches nearest to what is expected in the hidden patch `row`, the nearest first."""
        found, at = self.imagined.nearest, draw * len(self.places) + row
        each = found.energies[at].tolist(), found.images[at].tolist(), found.places[at].tolist()
        return [Found(*one) for one in zip(*each, strict=True)]

    def closer_than(self) -> Tensor:
        """The fraction of real patches that are further from what is expected than the true one: [draws, Nt]."""
        found = self.imagined.nearest
        fractions = 1 - found.closer / max(1, found.compared)
        return fractions.unflatten(0, (len(self.imagined.hidden), len(self.places)))

    def contents(self) -> list[Content]:
        """What was put where the region is hidden, the true region first; what there is none of is left out."""
        found = self.imagined
        kinds = (REGION, found.of_regions), (PASTED, found.of_pasted), (NOISE, found.of_noise), (IMAGE, found.of_images)
        return [Content(TRUE, found.true[:, None]), *(Content(name, each) for name, each in kinds if each.shape[1])]

    def lines(self) -> list[str]:
        """How many patches were hidden and compared, and how near the true ones come, in words."""
        first, found = self.imagined.hidden[0], self.imagined.nearest
        compared = f"{found.compared:,} real patches of {self._images_in_words()}"
        near = floor(1000 * float(self.closer_than().median())) / 10
        lines = [
            f"{len(first.targets):,} patches hidden, {len(first.context):,} visible; compared with {compared}",
            f"the true patch is nearer to what is expected than {near:.1f} % of these (median)",
        ]
        return lines if self.source is None else [*lines, self._places_in_words()]

    def _places_in_words(self) -> str:
        """How many of the nearest patches lie where the hidden ones do, which tells of place rather than content."""
        found = self.imagined.nearest.places
        hidden = torch.tensor(self.places).repeat(len(self.imagined.hidden))
        same = 100 * float((found == hidden[:, None]).float().mean())
        chance = 100 / (self.energies.grid_size[0] * self.energies.grid_size[1])
        return (
            f"{same:.1f} % of the nearest patches lie at the same place in their images; by chance {chance:.1f} % would"
        )

    def _images_in_words(self) -> str:
        if self.source is None:
            return "the image itself"
        compared = self.imagined.nearest.compared // (self.energies.grid_size[0] * self.energies.grid_size[1])
        of = f" of {self.source.available:,}" if self.source.available > compared else ""
        return f"{compared:,}{of} images"

    def box_of(self, number: int, place: int) -> tuple[int, int, int, int]:
        """The pixels (left, top, right, bottom) of a patch in its image."""
        window = patch_at(place, self.energies.grid_size)
        return pixels_of(window, self.shown(number).size, self.energies.encoder.frame, self.energies.grid_size)

    def records(self) -> Iterator[dict[str, Any]]:
        """A record for each draw, hidden patch, and content: the true patch, its nearest ones, and what was put there.

        draw, patch  from 0 on, patches row by row; energy of this patch with `content`; path, from_patch and the box
        x0, y0, x1, y1 say where the content is from, None for noise; `rank` is that of a nearest patch, from 1 on
        """
        for draw in range(len(self.imagined.hidden)):
            for row, place in enumerate(self.places):
                for content, rank, energy, origin in self._contents_of(draw, row):
                    head = {"draw": draw, "patch": place, "content": content, "rank": rank, "energy": energy}
                    yield head | self._where(origin)

    def _contents_of(self, draw: int, row: int) -> Iterator[tuple[str, int | None, float, tuple[int, int] | None]]:
        """Content, rank, energy, and the image and place that it is from."""
        found, place = self.imagined, self.places[row]
        yield TRUE, None, float(found.true[draw, row]), (-1, place)
        for rank, one in enumerate(self.nearest(draw, row), 1):
            yield NEAREST, rank, one.energy, (one.image, one.place)
        for window, energies in zip(found.regions, found.of_regions[draw], strict=True):
            yield REGION, None, float(energies[row]), (-1, int(window.places(self.energies.grid_size[1])[row]))
        for content, each in ((PASTED, found.of_pasted[draw]), (IMAGE, found.of_images[draw])):
            for number, energies in zip(found.images, each, strict=False):  # pixels may not be at hand
                yield content, None, float(energies[row]), (number, place)
        for energies in found.of_noise[draw]:
            yield NOISE, None, float(energies[row]), None

    def _where(self, origin: tuple[int, int] | None) -> dict[str, Any]:
        if origin is None:
            return dict.fromkeys(COLUMNS[5:])
        sides = zip(BOX, self.box_of(*origin), strict=True)
        return {"path": self.shown(origin[0]).path, "from_patch": origin[1], **dict(sides)}


def expect(
    energies: Energies,
    asked: Asked,
    window: Window,
    source: PatchSource | None,
    draws: int,
    top: int,
    seed: int,
    progress: Progress,
) -> Expectation:
    """What is expected in a window of an image. Raises UsageError as `imagine` does, and where nothing is compared."""
    blocks = None if source is None else source.blocks(progress)
    found = imagine(energies, asked.image, window, blocks, draws, top, seed)
    if not found.nearest.compared:
        raise UsageError(f"--from holds no image that can be read besides {asked.shown.path}: give other images")
    return Expectation(asked, found, source, energies)
