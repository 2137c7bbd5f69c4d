"""The labelled images of a fine-tuning: opened, read as the model does, divided into training, validation and test."""

from dataclasses import dataclass

import numpy as np

from openjepa.console import log
from openjepa.data.dataset import ImageDataset
from openjepa.data.open import DataSource
from openjepa.data.proportions import seen_lines
from openjepa.encoder.encoder import Encoder
from openjepa.encoder.features import frame_of
from openjepa.errors import UsageError
from openjepa.evaluation.finetuning.targets import Target, check_learnable, find_target, split
from openjepa.runs.images import prepare_images


@dataclass(frozen=True)
class Labelled:
    """Images of which the target is known: int64 [n] classes, or float32 [n, C] tags or numbers."""

    dataset: ImageDataset
    values: np.ndarray

    def rows(self, chosen: np.ndarray) -> "Labelled":
        return Labelled(self.dataset.subset(chosen), self.values[chosen])


@dataclass(frozen=True)
class Given:
    """The images of a command: DATA, and what --validation and --test name."""

    data: DataSource
    validation: DataSource | None = None
    test: DataSource | None = None
    max_skipped: float = 0.01
    workers: int = 2


@dataclass(frozen=True)
class Parts:
    """What is learnt from which images. Without `test`, results are of the validation images."""

    target: Target
    train: Labelled
    validation: Labelled
    test: Labelled | None

    @property
    def held_out(self) -> Labelled:
        return self.test or self.validation


def open_parts(given: Given, encoder: Encoder, labels: tuple[str, ...], regression: bool, seed: int) -> Parts:
    """All images, with lines on what is left out. Raises UsageError."""
    dataset = _open(given, given.data, encoder)
    target = find_target(dataset, labels, regression)
    whole = _labelled(dataset, target)
    check_learnable(target, whole.values, dataset.source)
    test = None if given.test is None else _labelled(_open(given, given.test, encoder), target)
    if given.validation is not None:
        train, validation = whole, _labelled(_open(given, given.validation, encoder), target)
    else:
        rows, held = split(target, whole.values, seed)
        train, validation = whole.rows(rows), whole.rows(held)
    check_learnable(target, train.values, f"the training part of {dataset.source}")
    return Parts(target, train, validation, test)


def _open(given: Given, source: DataSource, encoder: Encoder) -> ImageDataset:
    dataset, summary = prepare_images(source, given.workers, "", encoder.pixel_format, given.max_skipped)
    log(*seen_lines(summary.sizes, frame_of(encoder)))
    return dataset


def _labelled(dataset: ImageDataset, target: Target) -> Labelled:
    """The images that have the target; a line says how many are left out."""
    values = target.values(dataset)
    known = np.flatnonzero(target.known(values))
    if not len(known):
        raise UsageError(
            f"no image of {dataset.source} has the label {target.name}, with a class that is known: label some"
        )
    if len(known) < len(dataset):
        lacking = len(dataset) - len(known)
        log(f"{lacking:,} of {len(dataset):,} images of {dataset.source} have no known {target.name}, and are left out")
        dataset = dataset.subset(known)
    return Labelled(dataset, values[known])
