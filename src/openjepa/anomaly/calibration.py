"""What scores mean: how they vary among normal images, and thresholds that keep a rate of false alarms."""

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.special import betaincinv
from torch import Tensor

from openjepa.anomaly.scorer import Score
from openjepa.data.summary import counted
from openjepa.errors import UsageError

SMALLEST = 1e-6  # of a standard deviation, beside the mean
HELD_PART = 4  # a quarter of the normal images is held out for the threshold, or more where the rate needs more


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation of a score among normal images: of images, and of patches where it has maps."""

    image: tuple[float, float]
    maps: tuple[float, float] | None = None


def spread_of(score: Score) -> Spread:
    """The spread of the score of normal images that it was not fitted on."""
    return Spread(_moments(score.images), None if score.maps is None else _moments(score.maps))


def _moments(values: Tensor) -> tuple[float, float]:
    mean, std = float(values.double().mean()), float(values.double().std(correction=0))
    return mean, max(std, SMALLEST * max(1.0, abs(mean)))


def combined(scores: dict[str, Score], spreads: dict[str, Spread], weights: dict[str, float] | None = None) -> Score:
    """The weighted mean of all scores, and of all maps, each in standard deviations above the mean of normal ones.

    Without weights all count the same.
    """
    weights = weights or dict.fromkeys(scores, 1.0)
    images, maps = {}, {}
    for name, score in scores.items():
        spread = spreads[name]
        images[name] = _standard(score.images, spread.image)
        if score.maps is not None and spread.maps is not None:
            maps[name] = _standard(score.maps, spread.maps)
    return Score(_weighted(images, weights), _weighted(maps, weights))


def _weighted(values: dict[str, Tensor], weights: dict[str, float]) -> Tensor:
    """The weighted mean of tensors; all count the same where none of them has a weight."""
    shares = torch.tensor([weights[name] for name in values])
    shares = shares / shares.sum() if shares.sum() > 0 else torch.full_like(shares, 1 / len(shares))
    return torch.einsum("i,i...->...", shares, torch.stack([*values.values()]))


def _standard(values: Tensor, moments: tuple[float, float]) -> Tensor:
    return (values - moments[0]) / moments[1]


@dataclass(frozen=True)
class Threshold:
    """A score above which an image is called anomalous, so that at most a fraction `rate` of normal images is.

    From the scores of `count` normal images that nothing else was fitted on: if normal images to come are drawn as
    these were, each is called anomalous with a probability of at most `rate` (split conformal prediction: Vovk,
    Gammerman, Shafer 2005; Lei et al., JASA 2018, section 2.2). This is a mean over draws of the `count` images; `low`
    and `high` hold the rate of this very threshold in 95 % of them.
    """

    value: float
    rate: float
    count: int
    low: float
    high: float

    def warnings(self) -> list[str]:
        """A line where the highest score alone is the threshold, so that one odd image can lift it above defects."""
        if place_of(self.rate, self.count) > 1:
            return []
        more = needed(self.rate, 2)
        return [
            f"warning: this threshold is the highest score of the {counted(self.count, 'held-out image')}, so that one "
            f"odd image among them sets it: with {HELD_PART * more:,} normal images {more:,} would be held out, and "
            "the threshold would be their second highest score"
        ]


def place_of(rate: float, held_out: int) -> int:
    """The place of the threshold among the scores of held-out images, 1 for the highest; 0 where there is none."""
    return held_out + 1 - math.ceil((held_out + 1) * (1 - rate) - 1e-9)


def needed(rate: float, place: int = 1) -> int:
    """The fewest normal images to hold out for the threshold of a rate to be at this place, 1 for the highest score.

    At place 2 a single image cannot set the threshold.
    """
    return math.ceil(place / rate - 1e-9) - 1


def conformal_threshold(scores: np.ndarray, rate: float) -> Threshold:
    """The threshold of a `rate` in (0, 1) from the scores [n] of held-out normal images. UsageError for too few."""
    n = len(scores)
    place = place_of(rate, n)
    if place < 1:
        raise UsageError(too_few(rate, n))
    low, high = betaincinv(place, n + 1 - place, (0.025, 0.975))  # the rate of this threshold is Beta distributed
    return Threshold(float(np.sort(scores)[n - place]), rate, n, float(low), float(high))


def too_few(rate: float, held_out: int, images: int | None = None) -> str:
    """Why a rate cannot be promised."""
    given = f"{held_out:,} can be" if images is None else f"of {images:,} images {held_out:,} can be"
    least = f"; {held_out:,} carry {100 / (held_out + 1):.3g}% or more" if held_out else ""
    return (
        f"--false-alarms {100 * rate:g}% needs {needed(rate):,} normal images that are held out, and {given}{least}: "
        "give more normal images, or a larger rate"
    )


@dataclass(frozen=True)
class Calibration:
    """How each score varies among normal images, the scores [n] of held-out ones, and the threshold if asked for.

    `how` says in words what the spreads are from. `planted` are the AUROC in [0, 1] by which each score tells planted
    defects from normal images.
    """

    spreads: dict[str, Spread]
    how: str
    held_out: np.ndarray = field(default_factory=lambda: np.zeros(0))
    threshold: Threshold | None = None
    planted: dict[str, float] = field(default_factory=dict)

    @property
    def weights(self) -> dict[str, float]:
        """What each score counts, which add up to 1: as the square of what its AUROC is above chance."""
        above = {name: max(0.0, auroc - 0.5) ** 2 for name, auroc in self.planted.items()}
        whole = sum(above.values())
        return {name: value / whole if whole else 1 / len(above) for name, value in above.items()}

    def p_values(self, scores: np.ndarray) -> np.ndarray:
        """The fraction of normal images that score at least as high, counting the image itself: conformal p-values."""
        above = len(self.held_out) - np.searchsorted(np.sort(self.held_out), scores, side="left")
        return (1 + above) / (len(self.held_out) + 1)
