"""What a head says of images, as columns of a table."""

import functools
from collections.abc import Iterable, Sequence

from torch import Tensor

from openjepa.files.writing import Number
from openjepa.interop.classifier import Classifier, Problem

BETWEEN = "|"  # tags in one cell


def answer_cells(model: Classifier, answers: Tensor) -> tuple[list[str], Iterable[list[str]]]:
    """The columns, and for each image its cells, of answers [n, C]: probabilities, or numbers."""
    if model.problem is Problem.QUANTITIES:
        return model.classes, map(_numbers, answers)
    shares = [f"probability of {name}" for name in model.classes]
    if model.problem is Problem.TAGS:
        return ["prediction", *shares], map(functools.partial(_tags, model.classes), answers)
    return ["prediction", "probability", *shares], map(functools.partial(_classes, model.classes), answers)


def _classes(classes: Sequence[str], row: Tensor) -> list[str]:
    """The likeliest class, its probability, and those of all."""
    return [classes[int(row.argmax())], *_probabilities([row.max(), *row])]


def _tags(tags: Sequence[str], row: Tensor) -> list[str]:
    """The tags that are likelier than not, and the probabilities of all."""
    return [BETWEEN.join(name for name, p in zip(tags, row, strict=True) if p > 0.5), *_probabilities(row)]


def _numbers(row: Tensor) -> list[str]:
    return [Number(f"{number:z.6g}") for number in row]


def _probabilities(row: Iterable[Tensor]) -> list[str]:
    return [Number(f"{p:.6f}") for p in row]
