"""From normal images to a detector: some are fitted on, others are held out to learn how scores vary."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from openjepa.anomaly.calibration import (
    HELD_PART,
    Calibration,
    Spread,
    combined,
    conformal_threshold,
    needed,
    spread_of,
    too_few,
)
from openjepa.anomaly.detector import Detector, Facts, LightingChoice
from openjepa.anomaly.energy import Energies
from openjepa.anomaly.fitting.gathering import Gathered
from openjepa.anomaly.fitting.suspects import Batch, TwoPasses, find_suspects
from openjepa.anomaly.memory import PATCHES
from openjepa.anomaly.patches import PatchFeatures, PatchModel, PatchSettings
from openjepa.anomaly.reading import Reader
from openjepa.anomaly.scorer import MemoryPart, Part, Score, score_all
from openjepa.data.dataset import ImageDataset
from openjepa.encoder.features import (
    Progress,
    Skipped,
    no_progress,
    only_finite,
    read_by,
    require_some,
    stream_features,
)
from openjepa.errors import UsageError

FOLDS = 5
SEPARATE = 40  # normal images from which on some are set aside for the spreads; of fewer each is used in turn
SET_ASIDE, MOST_SET_ASIDE = 0.2, 200  # a fraction of the images, and images
BATCH = 16
SHIFTS = (-2, 2)  # pixels; the copies that stand for other normal images where there is only one
GAINS = (0.97, 1.03)


@dataclass(frozen=True)
class FitSettings:
    """How a detector is fitted: see the options of `openjepa anomaly fit`.

    `any_orientation` is for square images, and for the memory as the only score.
    """

    patches: PatchSettings = field(default_factory=PatchSettings)
    scores: tuple[str, ...] = ("memory", "density")
    memory_patches: int = PATCHES
    coreset: str = "greedy"
    false_alarms: float | None = None
    any_orientation: bool = False
    seed: int = 0
    lighting_choice: LightingChoice | None = None


class Fitted(NamedTuple):
    """The detector, and (path, reason) of the images that could not be read."""

    detector: Detector
    skipped: Skipped


class Split(NamedTuple):
    """Numbers of normal images: to fit on, for the spreads of the scores, and for the threshold."""

    fit: np.ndarray
    spread: np.ndarray
    threshold: np.ndarray


def split_normals(count: int, rate: float | None, seed: int) -> Split:
    """`count` normal images in three parts, drawn at random. Raises UsageError where a `rate` needs more."""
    order = np.random.default_rng(seed % 2**64).permutation(count)
    held = 0
    if rate is not None:
        least = needed(rate)
        if least > count - 1:
            raise UsageError(too_few(rate, count - 1, count))
        held = max(least, min(count // HELD_PART, max(MOST_SET_ASIDE, needed(rate, 2))))
    rest = count - held
    aside = min(round(rest * SET_ASIDE), MOST_SET_ASIDE) if rest >= SEPARATE else 0
    return Split(order[held + aside :], order[held : held + aside], order[:held])


class Fitter:
    """Fits a detector of a model on a dataset of normal images, read by `workers` processes.

    `energies` are needed where energy is one of the scores.
    """

    def __init__(
        self,
        model: PatchModel,
        settings: FitSettings,
        workers: int = 2,
        progress: Progress = no_progress,
        energies: Energies | None = None,
    ) -> None:
        self.model, self.settings, self.workers, self.progress = model, settings, workers, progress
        self.reader = Reader(PatchFeatures(model, settings.patches), energies)
        self.skipped: Skipped = []
        self.distances: dict[int, float] = {}  # of normal images from the others, by their places in the dataset
        self.done = self.total = 0

    def fit(self, dataset: ImageDataset, model: str, size: tuple[int, int]) -> Fitted:
        """`model` is the name it is found by again; `size` is that (width, height) of most images.

        Raises UsageError where no image can be read, and for a rate of false alarms that needs more images.
        """
        dataset = read_by(self.model, dataset)
        split = split_normals(len(dataset), self.settings.false_alarms, self.settings.seed)
        self.total = len(dataset)
        parts, spreads, how = self._parts(dataset, split)
        parts = {name: parts[name] for name in spreads}
        held_out = [
            combined(self._scored(parts, batch), spreads).images for batch in self._read(dataset, split.threshold)
        ]
        scores = torch.cat(held_out).double().numpy() if held_out else np.zeros(0)
        rate = self.settings.false_alarms
        threshold = None if rate is None else conformal_threshold(scores, rate)
        calibration = Calibration(spreads, how, scores, threshold)
        paths = [dataset.paths[place] for place in self.distances]
        suspects = find_suspects(paths, np.array(list(self.distances.values())))
        chosen = self.settings.lighting_choice
        turned = self.settings.any_orientation
        facts = Facts(model, str(dataset.source), len(split.fit), size, suspects, chosen, turned)
        return Fitted(Detector(self.reader, parts, calibration, facts), self.skipped)

    def _parts(self, dataset: ImageDataset, split: Split) -> tuple[dict[str, Part], dict[str, Spread], str]:
        """The scores, how they vary among normal images, and in words which these were."""
        if len(split.spread):
            passes = TwoPasses()
            first = self._stream(dataset, split.fit, self._to_fit)
            parts = self._gather(batch.values for batch in passes.first(first)).parts()
            self._leave_out(parts, passes.again(lambda places: self._read_again(dataset, places)))
            scores = join([self._scored(parts, batch) for batch in self._read(dataset, split.spread)])
            return parts, spreads_of(scores), f"{len(split.spread):,} normal images set aside"
        images = list(self._stream(dataset, split.fit, lambda images: images))
        require_some(images, dataset)
        pixels = torch.cat([batch.values for batch in images])
        readings = torch.cat([self._to_fit(part) for part in pixels.split(BATCH)])
        parts = self._gather([readings]).parts()
        if len(readings) == 1:
            copies = self.reader(changed_copies(pixels))
            how = "copies of the one normal image, moved and relit a little"
            return parts, spreads_of(score_all(parts, copies)), how
        self._leave_out(parts, [Batch(readings, [place for batch in images for place in batch.places])])
        scores = join(list(self._in_turn(readings)))
        return parts, spreads_of(scores), f"{len(readings):,} normal images, each scored by the others"

    def _in_turn(self, readings: Tensor) -> Iterator[dict[str, Score]]:
        """The scores of each fold of normal images by what was fitted on the others."""
        folds = np.array_split(np.arange(len(readings)), min(FOLDS, len(readings)))
        for fold in folds:
            others = np.setdiff1d(np.arange(len(readings)), fold)
            yield score_all(self._gather([readings[others]]).parts(), self._upright(readings[fold]))

    def _leave_out(self, parts: dict[str, Part], batches: Iterable[Batch]) -> None:
        """Note how far each image that was fitted on is from the others, where there is a memory of several."""
        memory, number = parts.get("memory"), 0
        if not isinstance(memory, MemoryPart) or len(memory.memory.owners.unique()) == 1:
            return
        for reading, places in batches:
            numbers = torch.arange(number, number + len(places))
            self._note(places, memory.left_out(self._upright(reading), numbers))
            number += len(places)

    def _scored(self, parts: dict[str, Part], batch: Batch) -> dict[str, Score]:
        """The scores of images that were not fitted on."""
        scores = score_all(parts, batch.values)
        if "memory" in scores:
            self._note(batch.places, scores["memory"])
        return scores

    def _note(self, places: Sequence[int], score: Score) -> None:
        self.distances |= zip(places, score.images.tolist(), strict=True)

    def _to_fit(self, images: Tensor) -> Tensor:
        """What is fitted on, of images: of each also turned where any orientation is normal."""
        return self.reader.turned(images) if self.settings.any_orientation else self.reader(images)

    def _upright(self, readings: Tensor) -> Tensor:
        """What is scored, of what was fitted on: images as they are."""
        return readings[:, : math.prod(self.model.grid_size)]

    def _gather(self, readings: Iterable[Tensor]) -> Gathered:
        settings = self.settings
        gathered = Gathered(settings.scores, settings.memory_patches, settings.coreset)
        for reading in readings:
            gathered.add(reading)
        if not gathered.images:
            raise UsageError("none of the normal images to fit on can be read: give others")
        return gathered

    def _read(self, dataset: ImageDataset, chosen: np.ndarray) -> Iterator[Batch]:
        return self._stream(dataset, chosen, self.reader)

    def _read_again(self, dataset: ImageDataset, chosen: np.ndarray) -> Iterator[Batch]:
        self.total += len(chosen)
        return self._stream(dataset, chosen, self.reader)

    def _stream(
        self, dataset: ImageDataset, chosen: np.ndarray, compute: Callable[[Tensor], Tensor]
    ) -> Iterator[Batch]:
        """Batches of what `compute` makes of the chosen images that can be read; the others are noted."""
        chosen = np.sort(chosen)
        part = dataset.subset(chosen)
        chunks = stream_features(compute, self.model.frame, part, self.workers, BATCH, self._advance(self.done))
        for reading, indices, bad in only_finite(chunks, self.model, part):
            self.skipped += [(path, reason) for path, reason in bad]  # a DataLoader makes lists of them
            if indices:
                yield Batch(reading, chosen[indices].tolist())
        self.done += len(part)

    def _advance(self, before: int) -> Progress:
        return lambda done, _: self.progress(before + done, self.total)


def spreads_of(scores: dict[str, Score]) -> dict[str, Spread]:
    return {name: spread_of(score) for name, score in scores.items()}


def join(scores: Sequence[dict[str, Score]]) -> dict[str, Score]:
    """Scores of several batches as those of one; a score that one of them lacks is left out."""
    if not scores:
        raise UsageError("none of the normal images that were held out can be read: give others")
    names = [name for name in scores[0] if all(name in part for part in scores)]
    return {name: _join([part[name] for part in scores]) for name in names}


def _join(scores: Sequence[Score]) -> Score:
    maps = [score.maps for score in scores if score.maps is not None]
    return Score(torch.cat([score.images for score in scores]), torch.cat(maps) if maps else None)


def changed_copies(images: Tensor) -> Tensor:
    """Copies of an image [1, C, H, W]: moved by a few pixels, edges repeated, and a little darker and brighter."""
    whole = torch.nn.functional.pad(images.float(), (2, 2, 2, 2), mode="replicate")
    rows, columns = images.shape[2:]
    moved = [
        whole[:, :, 2 + y : 2 + y + rows, 2 + x : 2 + x + columns] * gain
        for y in SHIFTS
        for x in SHIFTS
        for gain in GAINS
    ]
    copies = torch.cat(moved)
    return copies.round().clamp(0, 255).to(images.dtype) if images.dtype == torch.uint8 else copies
