"""From patch features of normal images, wherever these come from, to scores and to how the scores vary."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from openjepa.anomaly.calibration import Spread, spread_of
from openjepa.anomaly.fitting.gathering import Gathered
from openjepa.anomaly.fitting.normals import folds
from openjepa.anomaly.fitting.suspects import Batch
from openjepa.anomaly.reading import Reading
from openjepa.anomaly.scorer import MemoryPart, Part, Score, score_all
from openjepa.errors import UsageError


class FromFeatures(NamedTuple):
    """Scores by name, how each varies among normal images that it was not fitted on, and in words which these were."""

    parts: dict[str, Part]
    spreads: dict[str, Spread]
    how: str


@dataclass
class FeaturesFitter:
    """Fits scores that need features alone, with at most `memory_patches` in a memory.

    distances  of normal images from the others, by their places
    """

    scores: Sequence[str]
    memory_patches: int
    distances: dict[int, float] = field(default_factory=dict)

    def with_others(self, first: Iterable[Batch], again: Iterable[Batch], aside: Iterable[Batch]) -> FromFeatures:
        """Fitted on `first`, of which `again` gives the same batches anew; spread by other images, set `aside`."""
        parts = self._gathered(batch.values for batch in first)
        self._leave_out(parts, again)
        scores = [self._scored(parts, batch) for batch in aside]
        images = sum(len(next(iter(each.values())).images) for each in scores)
        return FromFeatures(parts, _spreads(scores), f"{images:,} normal images set aside")

    def in_turn(self, batches: Sequence[Batch]) -> FromFeatures:
        """Fitted on few images, two or more, and spread by these, each scored by the others."""
        features = torch.cat([batch.values for batch in batches])
        parts = self._gathered([features])
        self._leave_out(parts, [Batch(features, [place for batch in batches for place in batch.places])])
        how = f"{len(features):,} normal images, each scored by the others"
        return FromFeatures(parts, _spreads([*self._folds(features)]), how)

    def _scored(self, parts: dict[str, Part], batch: Batch) -> dict[str, Score]:
        scores = score_all(parts, reading_of(batch.values))
        self._note(batch.places, scores["memory"])
        return scores

    def _gathered(self, features: Iterable[Tensor]) -> dict[str, Part]:
        gathered = Gathered(self.scores, self.memory_patches)
        for each in features:
            gathered.add(reading_of(each))
        if not gathered.images:
            raise UsageError("none of the normal images to fit on can be read: give others")
        return gathered.parts()

    def _folds(self, features: Tensor) -> Iterator[dict[str, Score]]:
        """The scores of each fold of normal images by what was fitted on the others."""
        for fold in folds(len(features)):
            others = np.setdiff1d(np.arange(len(features)), fold)
            yield score_all(self._gathered([features[others]]), reading_of(features[fold]))

    def _leave_out(self, parts: dict[str, Part], batches: Iterable[Batch]) -> None:
        """Note how far each image that was fitted on is from the others."""
        memory, number = parts["memory"], 0
        assert isinstance(memory, MemoryPart)
        if len(memory.memory.owners.unique()) == 1:
            return
        for features, places in batches:
            numbers = torch.arange(number, number + len(places))
            self._note(places, memory.left_out(reading_of(features), numbers))
            number += len(places)

    def _note(self, places: Sequence[int], score: Score) -> None:
        self.distances |= zip(places, score.images.tolist(), strict=True)


def reading_of(features: Tensor) -> Reading:
    """Features [B, N, D] as what scores read, without pixels and energies."""
    images, patches = features.shape[:2]
    return Reading(features, torch.zeros(images, patches, 0, 1), torch.zeros(images, patches))


def _spreads(scores: Sequence[dict[str, Score]]) -> dict[str, Spread]:
    """How scores of several batches vary. Raises UsageError where there are none."""
    return {name: spread_of(score) for name, score in join(scores).items()}


def join(scores: Sequence[dict[str, Score]]) -> dict[str, Score]:
    """Scores of several batches as those of one, without any that one of them lacks. Raises UsageError for none."""
    if not scores:
        raise UsageError("none of the normal images that were held out can be read: give others")
    names = [name for name in scores[0] if all(name in part for part in scores)]
    return {name: _join([part[name] for part in scores]) for name in names}


def _join(scores: Sequence[Score]) -> Score:
    maps = [score.maps for score in scores if score.maps is not None]
    return Score(torch.cat([score.images for score in scores]), torch.cat(maps) if maps else None)
