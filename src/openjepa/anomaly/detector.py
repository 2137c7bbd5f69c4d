"""A detector: a model, what it knows of normal images, and how their scores vary."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from openjepa.anomaly.calibration import Calibration, combined
from openjepa.anomaly.reading import Reader
from openjepa.anomaly.scorer import Part, score_all
from openjepa.data.crops import Frame
from openjepa.data.decoding.pixel_format import PixelFormat
from openjepa.data.summary import counted

COMBINED = "score"  # the name of the combination of all scores
NAMED = 5  # suspects in a warning


class Scored(NamedTuple):
    """Of B images: `scores` [B, 1 + K], the combination and each score; `maps` [B, N] of the combination."""

    scores: Tensor
    maps: Tensor


class Suspect(NamedTuple):
    """A normal image that may not be normal: its path, and how far it is from the others.

    `above` is in standard deviations above the median of all normal images.
    """

    path: str
    above: float


class LightingChoice(NamedTuple):
    """AUROC of planted defects under changed light, with features as they are and standardised within each image.

    By `images` normal images.
    """

    plain: float
    even: float
    images: int

    def line(self, chosen: bool) -> str:
        """What was chosen, and by how much."""
        found = f"AUROC {100 * self.even:.1f} with, {100 * self.plain:.1f} without"
        how = f"features {'' if chosen else 'not '}standardised within each image"
        return f"{how}: planted defects under changed light, {found} (by {counted(self.images, 'normal image')})"


@dataclass(frozen=True)
class Facts:
    """What a detector was fitted on.

    model     where it is, or its name
    source    of the normal images
    images    that it was fitted on, without those held out
    size      (width, height) of most of the normal images
    suspects  normal images that may not be normal, the farthest from the others first
    lighting  why features are standardised within each image or not, where that was chosen
    turned    whether the normal images were also turned by quarters
    any_light whether they were also seen under other lights
    """

    model: str
    source: str
    images: int
    size: tuple[int, int]
    suspects: tuple[Suspect, ...] = ()
    lighting: LightingChoice | None = None
    turned: bool = False
    any_light: bool = False

    def warnings(self) -> list[str]:
        """A line where some of the normal images may not be normal."""
        if not self.suspects:
            return []
        named = ", ".join(f"{suspect.path} ({suspect.above:.1f})" for suspect in self.suspects[:NAMED])
        rest = len(self.suspects) - NAMED
        more = f" and {rest} more in detector.json" if rest > 0 else ""
        return [
            f"warning: far from all other normal images, in standard deviations above the median: {named}{more}. Look "
            "whether they are normal; if not, take them out and fit again: a defect among normal images hides others "
            "like it, and raises the threshold"
        ]


class Detector:
    """Preprocessed images to anomaly scores; a `Model` whose features are these scores and the map, side by side."""

    def __init__(
        self, reader: Reader, parts: dict[str, Part], calibration: Calibration, facts: Facts, name: str = "detector"
    ) -> None:
        self.reader, self.parts, self.calibration, self.facts, self.name = reader, parts, calibration, facts, name

    @property
    def names(self) -> list[str]:
        """Of the numbers in `Scored.scores`."""
        return [COMBINED, *self.parts]

    @property
    def image_size(self) -> tuple[int, int]:
        return self.reader.model.image_size

    @property
    def grid_size(self) -> tuple[int, int]:
        return self.reader.model.grid_size

    @property
    def frame(self) -> Frame:
        return self.reader.model.frame

    @property
    def pixel_format(self) -> PixelFormat | None:
        return self.reader.model.pixel_format

    @torch.inference_mode()
    def score(self, images: Tensor) -> Scored:
        """Preprocessed images [B, C, H, W] to scores and maps, float32 on the CPU."""
        scores = score_all(self.parts, self.reader.split(self.reader(images)))
        whole = combined(scores, self.calibration.spreads, self.calibration.weights)
        assert whole.maps is not None  # the memory always has maps
        return Scored(torch.stack([whole.images, *(score.images for score in scores.values())], dim=1), whole.maps)

    def features(self, images: Tensor) -> Tensor:
        """`score` in one tensor [B, 1 + K + N]."""
        return torch.cat(self.score(images), dim=1)

    def lines(self) -> list[str]:
        """What a user should know of it."""
        scores, threshold = ", ".join(self.parts), self.calibration.threshold
        about = self.facts
        ways = ["in four orientations"] * about.turned + ["under other lights too"] * about.any_light
        each = f", each {' and '.join(ways)}" if ways else ""
        lines = [f"{scores} of {counted(about.images, 'normal image')}{each}; spread by {self.calibration.how}"]
        if len(self.calibration.planted) > 1:
            lines.append(f"of the score, by how well each tells planted defects (AUROC): {self._shares()}")
        if threshold:
            lines.append(
                f"threshold {threshold.value:.3f}: a normal image like these exceeds it with a chance of at most "
                f"{100 * threshold.rate:g}%; by {threshold.count:,} held-out ones, the rate of this threshold is "
                f"{threshold.low:.2%} to {threshold.high:.2%} (95 %)"
            )
            lines += threshold.warnings()
        if self.facts.lighting:
            lines.append(self.facts.lighting.line(self.reader.features.settings.lighting))
        return lines + self.facts.warnings()

    def _shares(self) -> str:
        weights, planted = self.calibration.weights, self.calibration.planted
        return ", ".join(f"{name} {weight:.0%} ({100 * planted[name]:.1f})" for name, weight in weights.items())

    def split(self, features: Tensor) -> Scored:
        """What `features` put together."""
        return Scored(features[:, : len(self.names)], features[:, len(self.names) :])
