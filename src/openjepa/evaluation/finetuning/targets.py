"""What is to be learnt of labelled images: the classes of a label, tags, or numbers; and which images are held out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from openjepa.data.dataset import UNLABELLED, ImageDataset
from openjepa.errors import UsageError, unknown
from openjepa.evaluation.finetuning.objective import Kind
from openjepa.evaluation.splits import holdout_split
from openjepa.rng import SAMPLES, generator

YES, NO = ("1", "true", "yes"), ("0", "false", "no")
HELD_OUT, MOST_HELD_OUT = 0.2, 5000


@dataclass(frozen=True)
class Target:
    """What is learnt, without the values of particular images.

    labels   names of the columns
    outputs  names of the classes, of the tags, or of the numbers
    """

    kind: Kind
    labels: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def name(self) -> str:
        return ", ".join(self.labels)

    def values(self, dataset: ImageDataset) -> np.ndarray:
        """Int64 [n], -1 where it is not known; or float32 [n, C], NaN where it is not. UsageError for other columns."""
        for name in self.labels:
            _check_has(dataset, name, self.kind is Kind.NUMBERS)
        if self.kind is Kind.CLASS:
            return _aligned(dataset, self.labels[0], self.outputs)
        if self.kind is Kind.NUMBERS:
            return np.stack([_numbers(dataset, name) for name in self.labels], axis=1).astype(np.float32)
        if len(self.labels) > 1:
            return np.stack([_truths(dataset, name) for name in self.labels], axis=1).astype(np.float32)
        return _tags(dataset, self.labels[0], self.outputs)

    def known(self, values: np.ndarray) -> np.ndarray:
        """Bool [n]: whether an image has the target."""
        return values != UNLABELLED if self.kind is Kind.CLASS else ~np.isnan(values).any(axis=1)


def find_target(dataset: ImageDataset, labels: Sequence[str], regression: bool) -> Target:
    """The target that the named columns are, or the only one that there is. Raises UsageError.

    Whole numbers that repeat are classes unless `regression` is set; other numbers are numbers.
    """
    labels = tuple(labels) or (_only_column(dataset, regression),)
    for name in labels:
        _check_has(dataset, name, regression)
    if regression or all(_is_measured(dataset, name) for name in labels):
        return Target(Kind.NUMBERS, labels, labels)
    if len(labels) > 1:
        for name in labels:
            _truths(dataset, name)
        return Target(Kind.TAGS, labels, labels)
    if labels[0] in dataset.columns.tags:
        return Target(Kind.TAGS, labels, tuple(dataset.columns.tag_names[labels[0]]))
    return Target(Kind.CLASS, labels, tuple(dataset.classes[labels[0]]))


def _columns(dataset: ImageDataset) -> list[str]:
    return list(dict.fromkeys([*dataset.labels, *dataset.columns.tags, *dataset.columns.numbers]))


def _only_column(dataset: ImageDataset, regression: bool) -> str:
    names = [name for name in _columns(dataset) if not regression or _is_numeric(dataset, name)]
    if len(names) == 1:
        return names[0]
    if names:
        raise UsageError(f"{dataset.source} has the columns {', '.join(names[:20])}: name one with --labels")
    what = "columns of numbers" if regression else "labels"
    raise UsageError(
        f"{dataset.source} has no {what} to learn: put the images in one folder a class, of two classes or more, or "
        "give a table with a column for them"
    )


def _check_has(dataset: ImageDataset, name: str, regression: bool) -> None:
    if name not in _columns(dataset):
        found = _columns(dataset)
        if not found:
            raise UsageError(f"{dataset.source} has no labels, and no column {name}: give labelled images")
        raise UsageError(unknown(f"column of {dataset.source}", name, found))
    if regression and not _is_numeric(dataset, name):
        raise UsageError(f"column {name} of {dataset.source} is not of numbers: name one that is")


def _is_numeric(dataset: ImageDataset, name: str) -> bool:
    if name in dataset.columns.numbers:
        return True
    return name in dataset.labels and all(_as_number(text) is not None for text in dataset.classes[name])


def _is_measured(dataset: ImageDataset, name: str) -> bool:
    """Whether a column is of numbers, and not all of them could number classes."""
    if name in dataset.columns.tags or name not in dataset.columns.numbers:
        return False
    numbers = dataset.columns.numbers[name]
    return name not in dataset.labels or bool((np.mod(numbers[~np.isnan(numbers)], 1) != 0).any())


def _as_number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if np.isfinite(number) else None


def _numbers(dataset: ImageDataset, name: str) -> np.ndarray:
    if name in dataset.columns.numbers:
        return dataset.columns.numbers[name]
    numbers = np.array([*(_as_number(text) for text in dataset.classes[name]), np.nan], float)
    return numbers[dataset.labels[name]]  # UNLABELLED takes the last


def _truths(dataset: ImageDataset, name: str) -> np.ndarray:
    """1 or 0 for each image, NaN where it is not known. Raises UsageError for a column that is not of truth values."""
    texts = [text.lower() for text in dataset.classes.get(name, ["?"])]
    if not all(text in YES + NO for text in texts):
        raise UsageError(
            f"column {name} of {dataset.source} is not of 0 and 1: of several --labels, each must be; or name one"
        )
    return np.array([*(float(text in YES) for text in texts), np.nan])[dataset.labels[name]]


def _aligned(dataset: ImageDataset, name: str, outputs: Sequence[str]) -> np.ndarray:
    if name not in dataset.labels:
        raise UsageError(f"column {name} of {dataset.source} is not of classes, as that of the training images is")
    place = {word: number for number, word in enumerate(outputs)}
    numbers = np.array([*(place.get(word, UNLABELLED) for word in dataset.classes[name]), UNLABELLED], np.int64)
    return numbers[dataset.labels[name]]


def _tags(dataset: ImageDataset, name: str, outputs: Sequence[str]) -> np.ndarray:
    if name not in dataset.columns.tags:
        return _single_tags(dataset, name, outputs)
    found, place = dataset.columns.tags[name], {word: at for at, word in enumerate(dataset.columns.tag_names[name])}
    values = np.zeros((len(dataset), len(outputs)), np.float32)
    for column, word in enumerate(outputs):
        if word in place:
            values[:, column] = found[:, place[word]]
    values[(found == UNLABELLED).any(axis=1)] = np.nan
    return values


def _single_tags(dataset: ImageDataset, name: str, outputs: Sequence[str]) -> np.ndarray:
    """Of images that have one tag each, which are classes of a label."""
    numbers = _aligned(dataset, name, outputs)
    values = np.eye(len(outputs), dtype=np.float32)[np.maximum(numbers, 0)]
    values[numbers == UNLABELLED] = np.nan
    return values


def split(target: Target, values: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(training, validation) rows of known values, sorted: a fifth, at most about 5,000, is for validation.

    Classes are stratified. Raises UsageError where there are too few images.
    """
    fraction = min(HELD_OUT, MOST_HELD_OUT / len(values))
    if target.kind is Kind.CLASS:
        return holdout_split(values, fraction, seed, target.outputs)
    if len(values) < 2:
        raise UsageError(f"{len(values)} labelled image is too few: give at least 2, or --validation DATA")
    order = generator(seed, SAMPLES).permutation(len(values))
    held = max(1, round(fraction * len(values)))
    return np.sort(order[held:]), np.sort(order[:held])


def check_learnable(target: Target, values: np.ndarray, source: str) -> None:
    """Raise UsageError where known values [n] or [n, C] leave nothing to learn."""
    if not len(values):
        raise UsageError(f"no image of {source} has the label {target.name}: label some")
    if target.kind is Kind.CLASS and len(found := np.unique(values)) < 2:
        raise UsageError(
            f"all labelled images of {source} are of one class of {target.name} ({target.outputs[found[0]]}): add "
            "images of another"
        )
    if target.kind is not Kind.CLASS and not np.ptp(values, axis=0).any():
        raise UsageError(f"{target.name} is the same for all labelled images of {source}: there is nothing to learn")
