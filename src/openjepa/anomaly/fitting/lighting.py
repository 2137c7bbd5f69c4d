"""Whether features are standardised within each image, chosen by defects and light that are put on normal images."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from openjepa.anomaly.calibration import combined, spread_of
from openjepa.anomaly.detector import LightingChoice
from openjepa.anomaly.fitting.features import reading_of
from openjepa.anomaly.fitting.fit import FitSettings
from openjepa.anomaly.fitting.gathering import Gathered
from openjepa.anomaly.fitting.normals import split_normals
from openjepa.anomaly.fitting.planted import LIGHTS, planted, relit
from openjepa.anomaly.patches import PatchFeatures, PatchModel
from openjepa.anomaly.reading import Reading
from openjepa.anomaly.scorer import score_all
from openjepa.data.dataset import ImageDataset
from openjepa.encoder.features import Progress, no_progress, read_by, stream_features

LEAST, MOST = 16, 64  # normal images that it is chosen on
BATCH = 16
MARGIN = 0.02  # of AUROC; the more that standardised features must reach to be chosen
PATCHES = 2048
VARYING = "memory", "density"  # the scores that it is chosen by


def choose_lighting(
    model: PatchModel,
    settings: FitSettings,
    dataset: ImageDataset,
    workers: int = 2,
    progress: Progress = no_progress,
) -> FitSettings:
    """The settings with `patches.lighting` as it tells more planted defects from normal images under changed light.

    Half of at most `MOST` normal images is fitted on. The other half is scored as it is and under other light, without
    and with planted defects; images that are held out for spreads and a threshold are not looked at. Of fewer than
    `LEAST` images, and for scores that features do not enter, the settings are left as they are. Raises UsageError
    for a rate of false alarms that needs more images.
    """
    scores = tuple(name for name in settings.scores if name in VARYING)
    chosen = split_normals(len(dataset), settings.false_alarms, settings.seed).fit[:MOST]
    if not scores or len(chosen) < LEAST:
        return settings
    pixels = _pixels(model, dataset.subset(np.sort(chosen)), workers, progress)
    if len(pixels) < LEAST:
        return settings
    plain, even = _separations(model, replace(settings, scores=scores), pixels)
    choice = LightingChoice(plain, even, len(pixels))
    return replace(settings, patches=replace(settings.patches, lighting=even >= plain + MARGIN), lighting_choice=choice)


def _pixels(model: PatchModel, dataset: ImageDataset, workers: int, progress: Progress) -> Tensor:
    """Preprocessed images [n, C, H, W] that can be read, in an order that does not follow their names."""
    part = read_by(model, dataset)
    chunks = stream_features(lambda images: images, model.frame, part, workers, BATCH, progress)
    found = [images for images, indices, _ in chunks if indices]
    pixels = torch.cat(found) if found else torch.empty(0)
    return pixels[torch.from_numpy(np.random.default_rng(0).permutation(len(pixels)))]


def _separations(model: PatchModel, settings: FitSettings, pixels: Tensor) -> Iterator[float]:
    """AUROC of planted defects with features as they are, and standardised within each image."""
    known, others = pixels.chunk(2)
    if settings.any_light:
        known = torch.cat([known, *(relit(known, settings.seed + 1 + light) for light in range(LIGHTS))])
    light = relit(others, settings.seed)
    shown = [known, others, light, planted(others, settings.seed), planted(light, settings.seed + 1)]
    readers = [PatchFeatures(model, replace(settings.patches, lighting=lighting)) for lighting in (False, True)]
    tokens = ([readers[0].tokens(part) for part in images.split(BATCH)] for images in shown)
    described = [[torch.cat([reader.described(part) for part in parts]) for reader in readers] for parts in tokens]
    for features in zip(*described, strict=True):
        # Numbers that are not finite are refused when the detector is fitted.
        yield _separation(settings, [reading_of(part.nan_to_num(0.0, 0.0, 0.0)) for part in features])


def _separation(settings: FitSettings, readings: list[Reading]) -> float:
    """AUROC of the last two readings, with defects, among the two before, when the first is fitted on."""
    known, *shown = readings
    gathered = Gathered(settings.scores, min(PATCHES, settings.memory_patches), "random")
    gathered.add(known)
    parts = gathered.parts()
    scores = [score_all(parts, reading) for reading in shown]
    spreads = {name: spread_of(score) for name, score in scores[0].items()}
    images = torch.cat([combined(score, spreads).images for score in scores]).nan_to_num().numpy()
    return float(roc_auc_score(np.arange(len(images)) >= len(images) // 2, images))
