"""Detectors and the models that they read images by: from names to both, from images to scores, and to a folder."""

import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from openjepa.anomaly.detector import Detector, Scored
from openjepa.anomaly.energy import GIVE, Energies
from openjepa.anomaly.memory import CORESETS
from openjepa.anomaly.patches import PatchModel, check_patch_model, most_layers
from openjepa.anomaly.scorer import SCORES
from openjepa.anomaly.stored import StoredFacts, read_detector, read_detector_facts, write_detector
from openjepa.data.crops import stretch
from openjepa.data.dataset import ImageDataset
from openjepa.data.summary import Summary
from openjepa.encoder.encoder import Encoder
from openjepa.encoder.features import (
    Progress,
    Skipped,
    no_progress,
    only_finite,
    read_by,
    require_some,
    stream_features,
)
from openjepa.encoder.foreign import is_own
from openjepa.errors import UsageError, unknown
from openjepa.files import atomic_folder, check_output, usage_error
from openjepa.interop.load import load_encoder
from openjepa.runs.checkpoints import Step, find_steps, load_encoder_at, open_model_at, open_source_at
from openjepa.runs.images import LISTED, write_skipped

BATCH = 16
MOST_STRETCHED = 1.05  # of images that are turned
RATE = re.compile(r"(\d{1,3}(?:\.\d{1,9})?)%|(0\.\d{1,9})")


def open_patch_model(
    name: str, step: Step, image_size: tuple[int, int] | None, device: torch.device, precision: torch.dtype
) -> PatchModel:
    """A model with patch tokens, at another image size if one is given. Raises UsageError."""
    if image_size is None:
        model = open_model_at(name, step, device, precision)
    elif step is not None:
        model = load_encoder_at(name, step, device, precision, image_size=image_size)
    else:
        model = load_encoder(name, device, precision, image_size=image_size)
    model.name = name
    return check_patch_model(model)


def open_energies(
    name: str, step: Step = None, image_size: tuple[int, int] | None = None, encoder: Encoder | None = None
) -> Energies:
    """The energies under the networks of a run or artifact; `encoder` is its encoder where that is open already.

    Raises UsageError for a model without a predictor.
    """
    encoder = encoder or load_encoder_at(name, step, torch.device("cpu"), torch.float32, image_size=image_size)
    if not is_own(encoder):
        raise UsageError(f"{name} has no predictor, which energy needs: {GIVE}")
    return Energies(encoder, open_source_at(name, step, image_size))


def energies_for(
    model: PatchModel, name: str, step: Step, image_size: tuple[int, int] | None, scores: Collection[str]
) -> Energies | None:
    """The energies of a model that was opened under a name, where energy is one of the scores."""
    if "energy" not in scores:
        return None
    if not is_own(model):
        raise UsageError(f"{name} has no predictor, which energy needs: {GIVE}")
    return open_energies(name, step, image_size, model)


def check_layers(model: PatchModel, layers: int | None) -> int:
    """How many layers to read: two where the model has them, unless told. Raises UsageError where it has fewer."""
    if layers is None:
        return most_layers(model, 2)
    if layers < 1 or most_layers(model, layers) < layers:
        raise UsageError(
            f"--layers {layers} is not possible: {model.name} gives 1 to {most_layers(model, 10_000):,} of them"
        )
    return layers


def parse_rate(text: str | None) -> float | None:
    """A rate of false alarms from 1% or 0.01; raises UsageError."""
    if text is None:
        return None
    match = RATE.fullmatch(text.strip())
    rate = float(match[1]) / 100 if match and match[1] else float(match[2]) if match else 0.0
    if not 0 < rate < 1:
        raise UsageError(f"--false-alarms {text} is not a rate: give a percentage above 0% and below 100%, as 1%")
    return rate


def parse_scores(text: str | None, any_orientation: bool = False) -> tuple[str, ...]:
    """Names of scores, separated by commas, of which one must have maps; raises UsageError.

    None stands for memory, density and pixels, or memory and pixels where parts lie in any orientation.
    """
    if text is None:
        return ("memory", "pixels") if any_orientation else ("memory", "density", "pixels")
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if name not in SCORES:
            raise UsageError(unknown("--scores", name, SCORES))
    if names == ("image",):
        raise UsageError("--scores image alone does not say where an image is odd: give another score with it")
    return names


def check_any_orientation(model: PatchModel, scores: Sequence[str], size: tuple[int, int]) -> None:
    """Raise UsageError unless images of most `size` (width, height) can be turned, and no score needs them upright."""
    if others := " and ".join(name for name in scores if name not in ("memory", "pixels")):
        raise UsageError(
            f"--any-orientation does not work with --scores {others}, for which parts must be aligned: give --scores "
            "memory,pixels, or leave it out"
        )
    rows, columns = model.image_size
    if rows != columns or model.grid_size[0] != model.grid_size[1]:
        raise UsageError(
            f"--any-orientation needs square images, and {model.name} sees {columns}x{rows} px: give --image-size with "
            "one number, or another model"
        )
    left, top, right, bottom = model.frame.box(*size)
    if stretch(right - left, bottom - top, (1, 1)) > MOST_STRETCHED:
        raise UsageError(
            f"--any-orientation needs images that are not stretched, and {model.name} sees images of "
            f"{size[0]}x{size[1]} px as squares: crop them to squares"
        )


def check_coreset(name: str, patches: int) -> None:
    """Raise UsageError unless a memory can be chosen so."""
    if name not in CORESETS:
        raise UsageError(unknown("--coreset", name, CORESETS))
    if not 1 <= patches <= 2**20:
        raise UsageError(f"--memory {patches:,} is not possible: give 1 to {2**20:,} patches")


def check_page(page: Path | None, inputs: Iterable[str | Path], overwrite: bool, data: Iterable[str]) -> None:
    """Raise UsageError unless a page can be written there, if one is asked for."""
    if page is None:
        return
    if Path(page).suffix != ".html":
        raise UsageError(f"{page} is not a page: give a name that ends in .html")
    check_output(Path(page), inputs, overwrite, data)


def save_detector(folder: Path, detector: Detector, step: Step, skipped: Skipped, replace: bool) -> None:
    """Write a detector and the list of images that could not be read, whole or not at all. Raises UsageError."""
    number = find_steps([detector.facts.model], step).get(detector.facts.model)
    with usage_error(folder), atomic_folder(folder, replace=replace, durable=True) as part:
        write_detector(part, detector, number)
        write_skipped(part / LISTED, skipped)


def where_it_is(model: str) -> str:
    """The name of a model as it stays right in another folder."""
    return os.path.abspath(model) if os.path.exists(model) else model


def open_detector(
    folder: Path, model: str | None, device: torch.device, precision: torch.dtype
) -> tuple[Detector, StoredFacts]:
    """A detector with its model, from where it was or from where `model` says. Raises UsageError.

    Nothing is fetched that the user did not name: a model that is not on this machine must be named again.
    """
    facts = read_detector_facts(folder)
    name = model or facts.model
    if not model and not os.path.exists(name):
        raise UsageError(f"{folder} is of the model {name}, which is not a folder here: name it with --model")
    try:
        opened = open_patch_model(name, facts.step, None, device, precision)
        if tuple(opened.image_size) != facts.image_size:
            opened = open_patch_model(name, facts.step, facts.image_size, device, precision)
    except UsageError as error:
        if model:
            raise
        raise UsageError(f"the model of {folder} cannot be opened: {error}; --model names it elsewhere") from error
    size = facts.image_size if "energy" in facts.spreads else None
    energies = energies_for(opened, name, facts.step, size, facts.spreads)
    return read_detector(folder, facts, opened, energies), facts


def stream_scores(
    detector: Detector, dataset: ImageDataset, workers: int, progress: Progress = no_progress
) -> Iterator[tuple[Scored, list[int], Skipped]]:
    """The scores of images, a batch at a time, with their indices and the images that cannot be read."""
    read = read_by(detector, dataset)
    chunks = stream_features(detector.features, detector.frame, read, workers, BATCH, progress)
    for features, indices, bad in only_finite(chunks, detector, read):
        if indices:
            yield detector.split(features), indices, bad
        else:
            yield Scored(torch.zeros(0, len(detector.names)), torch.zeros(0, 0)), indices, bad


def score_images(
    detector: Detector,
    dataset: ImageDataset,
    workers: int,
    progress: Progress = no_progress,
    each: Callable[[int, Tensor], None] | None = None,
) -> tuple[Tensor, np.ndarray, Skipped]:
    """Scores [m, 1 + K], the indices [m] of their images, and (path, reason) of those that cannot be read.

    `each` is called with the index and the map [N] of every image. Raises UsageError where none can be read.
    """
    scores, kept, skipped = [], [], []
    for scored, indices, bad in stream_scores(detector, dataset, workers, progress):
        scores.append(scored.scores)
        kept += indices
        skipped += bad
        if each:
            for index, map_ in zip(indices, scored.maps, strict=True):
                each(index, map_)
    require_some(kept, dataset)
    return torch.cat(scores), np.array(kept), skipped


def size_lines(summary: Summary, fitted: tuple[int, int] | None = None) -> list[str]:
    """A line where images have other sizes than each other or, if given, than those that were `fitted` on."""
    expected = fitted or summary.common_size
    others = sum(count for width, height, count in summary.sizes if (width, height) != expected)
    if not others:
        return []
    whose = "the normal images that the detector was fitted on have" if fitted else "the others have"
    return [
        f"warning: {others:,} of {summary.images:,} images are not of {expected[0]}x{expected[1]} px, which {whose}: "
        "what a patch shows, and so its score, depends on the size"
    ]
