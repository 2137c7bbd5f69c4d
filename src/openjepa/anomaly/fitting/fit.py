"""From normal images to a detector: some are fitted on, others are held out to learn how scores vary."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from openjepa.anomaly.calibration import (
    Calibration,
    Spread,
    combined,
    conformal_threshold,
    spread_of,
)
from openjepa.anomaly.detector import Detector, Facts, LightingChoice
from openjepa.anomaly.energy import Energies
from openjepa.anomaly.fitting.features import join
from openjepa.anomaly.fitting.gathering import Gathered
from openjepa.anomaly.fitting.normals import Split, changed_copies, folds, split_normals
from openjepa.anomaly.fitting.planted import LIGHTS, relit
from openjepa.anomaly.fitting.suspects import Batch, TwoPasses, find_suspects
from openjepa.anomaly.fitting.weights import MOST, WithDefects, aurocs
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

BATCH = 16


@dataclass(frozen=True)
class FitSettings:
    """How a detector is fitted: see the options of `openjepa anomaly fit`.

    `any_orientation` is for square images, and for the memory and pixels as the only scores. With `any_light` each
    image is also fitted on under `LIGHTS` other lights.
    """

    patches: PatchSettings = field(default_factory=PatchSettings)
    scores: tuple[str, ...] = ("memory", "density", "pixels")
    memory_patches: int = PATCHES
    coreset: str = "greedy"
    false_alarms: float | None = None
    any_orientation: bool = False
    any_light: bool = True
    seed: int = 0
    lighting_choice: LightingChoice | None = None


class Fitted(NamedTuple):
    """The detector, and (path, reason) of the images that could not be read."""

    detector: Detector
    skipped: Skipped


class Known(NamedTuple):
    """What was learned of normal images: the scores, how they vary, how well each tells planted defects (AUROC).

    `how` says in words which images the spreads are from.
    """

    parts: dict[str, Part]
    spreads: dict[str, Spread]
    planted: dict[str, float]
    how: str


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
        self.reader = Reader(PatchFeatures(model, settings.patches), energies, "pixels" in settings.scores)
        self.with_defects = WithDefects(self.reader, settings.seed)
        self.batches = 0
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
        known = self._learn(dataset, split)
        parts = {name: known.parts[name] for name in known.spreads}
        calibration = self._calibrated(known, parts, dataset, split.threshold)
        paths = [dataset.paths[place] for place in self.distances]
        suspects = find_suspects(paths, np.array(list(self.distances.values())))
        chosen = self.settings.lighting_choice
        turned, any_light = self.settings.any_orientation, self.settings.any_light
        facts = Facts(model, str(dataset.source), len(split.fit), size, suspects, chosen, turned, any_light)
        return Fitted(Detector(self.reader, parts, calibration, facts), self.skipped)

    def _calibrated(
        self, known: Known, parts: dict[str, Part], dataset: ImageDataset, places: np.ndarray
    ) -> Calibration:
        """How the scores vary and count, and the threshold by the normal images at `places` if a rate is asked for."""
        calibration = Calibration(known.spreads, known.how, planted=known.planted)
        held_out = [
            combined(self._scored(parts, batch), known.spreads, calibration.weights).images
            for batch in self._read(dataset, places)
        ]
        scores = torch.cat(held_out).double().numpy() if held_out else np.zeros(0)
        rate = self.settings.false_alarms
        threshold = None if rate is None else conformal_threshold(scores, rate)
        return replace(calibration, held_out=scores, threshold=threshold)

    def _learn(self, dataset: ImageDataset, split: Split) -> Known:
        """The scores, and by normal images that these were not fitted on how they vary and what they tell."""
        if len(split.spread):
            return self._by_some_set_aside(dataset, split)
        images = list(self._stream(dataset, split.fit, lambda images: images))
        require_some(images, dataset)
        pixels = torch.cat([batch.values for batch in images])
        readings = torch.cat([self._to_fit(part) for part in pixels.split(BATCH)])
        parts = self._gather([readings]).parts()
        if len(readings) == 1:
            scores = list(self._each(parts, self.with_defects(changed_copies(pixels))))
            return _known(parts, scores, "copies of the one normal image, moved and relit a little")
        self._leave_out(parts, [Batch(readings, [place for batch in images for place in batch.places])])
        shown = torch.cat([self.with_defects(part) for part in pixels.split(BATCH)])
        turns = [self._in_turn(readings, shown, fold) for fold in folds(len(readings))]
        scores = [join(list(each)) for each in zip(*turns, strict=True)]
        return _known(parts, scores, f"{len(readings):,} normal images, each scored by the others")

    def _by_some_set_aside(self, dataset: ImageDataset, split: Split) -> Known:
        passes = TwoPasses()
        first = self._stream(dataset, split.fit, self._to_fit)
        parts = self._gather(batch.values for batch in passes.first(first)).parts()
        self._leave_out(parts, passes.again(lambda places: self._read_again(dataset, places)))
        shown, scored, others = split.spread[:MOST], [], []
        for batch in self._stream(dataset, shown, self.with_defects):
            scored.append(list(self._each(parts, batch.values)))
            if "memory" in scored[-1][0]:
                self._note(batch.places, scored[-1][0]["memory"])
        for batch in self._read(dataset, split.spread[MOST:]):
            others.append(self._scored(parts, batch))
        scores = [join(list(each)) for each in zip(*scored, strict=True)] or [join([])]
        how = f"{len(split.spread):,} normal images set aside"
        return _known(parts, scores, how, others)

    def _each(self, parts: dict[str, Part], values: Tensor) -> Iterator[dict[str, Score]]:
        """The scores of what `WithDefects` gave [B, 1 + DRAWS, ...]: of the images, then of each of their copies."""
        return (score_all(parts, self.reader.split(each)) for each in values.unbind(dim=1))

    def _in_turn(self, readings: Tensor, shown: Tensor, fold: np.ndarray) -> list[dict[str, Score]]:
        """The scores of a fold of normal images, without and with defects, by what was fitted on the others."""
        others = np.setdiff1d(np.arange(len(readings)), fold)
        return list(self._each(self._gather([readings[others]]).parts(), shown[fold]))

    def _leave_out(self, parts: dict[str, Part], batches: Iterable[Batch]) -> None:
        """Note how far each image that was fitted on is from the others, where there is a memory of several."""
        memory, number = parts.get("memory"), 0
        if not isinstance(memory, MemoryPart) or len(memory.memory.owners.unique()) == 1:
            return
        for reading, places in batches:
            numbers = torch.arange(number, number + len(places))
            self._note(places, memory.left_out(self.reader.split(self._upright(reading)), numbers))
            number += len(places)

    def _scored(self, parts: dict[str, Part], batch: Batch) -> dict[str, Score]:
        """The scores of images that were not fitted on."""
        scores = score_all(parts, self.reader.split(batch.values))
        if "memory" in scores:
            self._note(batch.places, scores["memory"])
        return scores

    def _note(self, places: Sequence[int], score: Score) -> None:
        self.distances |= zip(places, score.images.tolist(), strict=True)

    def _to_fit(self, images: Tensor) -> Tensor:
        """What is fitted on, of images [B, C, H, W]: [B, V, N, R] of each as it is and then under other lights.

        Where any orientation is normal, N are the patches of an image and of this image turned.
        """
        read = self.reader.turned if self.settings.any_orientation else self.reader
        first = self.settings.seed + LIGHTS * self.batches
        self.batches += 1
        lights = [relit(images, first + light) for light in range(LIGHTS)] if self.settings.any_light else []
        return torch.stack([read(view) for view in (images, *lights)], dim=1)

    def _upright(self, readings: Tensor) -> Tensor:
        """What is scored, of what was fitted on: images as they are."""
        return readings[:, 0, : math.prod(self.model.grid_size)]

    def _gather(self, readings: Iterable[Tensor]) -> Gathered:
        settings = self.settings
        gathered = Gathered(settings.scores, settings.memory_patches, settings.coreset)
        for reading in readings:
            gathered.add(self.reader.split(reading.flatten(0, 1)), views=reading.shape[1])
        if not gathered.images:
            raise UsageError("none of the normal images to fit on can be read: give others")
        return gathered

    def _read(self, dataset: ImageDataset, chosen: np.ndarray) -> Iterator[Batch]:
        return self._stream(dataset, chosen, self.reader)

    def _read_again(self, dataset: ImageDataset, chosen: np.ndarray) -> Iterator[Batch]:
        self.total += len(chosen)
        return self._stream(dataset, chosen, lambda images: self.reader(images).unsqueeze(1))

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


def _known(
    parts: dict[str, Part], scores: list[dict[str, Score]], how: str, others: Sequence[dict[str, Score]] = ()
) -> Known:
    """By the scores of normal images, of their copies with defects, and of `others` that are normal too."""
    normal, *odd = scores
    spreads = {name: spread_of(score) for name, score in join([normal, *others]).items()}
    return Known(parts, spreads, aurocs({name: normal[name] for name in spreads}, odd), how)
