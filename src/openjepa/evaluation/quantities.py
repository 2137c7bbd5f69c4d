"""Counts and distances as classes, so that a linear classifier can be measured on them as in VTAB."""

import itertools
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from openjepa.errors import UsageError
from openjepa.evaluation.results import Result
from openjepa.evaluation.session import Part, Session

LEAST, MOST = 5, 10  # images a number needs, and numbers there may be, to be classes of their own
BINS = 6
Classes = tuple[Tensor, Tensor, list[str]]  # of the training [n] and test images [m] int64, and their names


def count_classes(session: Session) -> Classes:
    """The classes of the number of objects; -1 for test images whose count training never shows."""
    return counted(*(counts_of(part, session.paths(part)) for part in (session.train, session.test)))


def distance_classes(session: Session) -> Classes:
    """The classes of the distance of the nearest object."""
    edges = np.asarray(session.train.targets.edges)
    parts = (session.train, session.test)
    distances = (np.array([part.targets.annotations[path].distance for path in session.paths(part)]) for part in parts)
    train, test = (torch.from_numpy(classes_of(values, edges)) for values in distances)
    between = [f"{a:g} to {b:g}" for a, b in itertools.pairwise(edges)]
    return train, test, [f"below {edges[0]:g}", *between, f"from {edges[-1]:g}"]


def quantity_result(session: Session, task: str, classes: Classes) -> Result:
    """The accuracy of a linear probe for the classes of a quantity."""
    labels, truth, names = classes
    if len(labels.unique()) < 2:
        raise UsageError(f"all training images fall in one class of {task} ({names[int(labels[0])]}): add others")
    result = session.linear_result(task, task, labels, truth)
    commonest = float(commonest_rows(labels, truth).mean())
    return replace(result, protocol=result.protocol | {"classes": names, "commonest": commonest})


def commonest_rows(labels: Tensor, truth: Tensor) -> np.ndarray:
    """[m] 1.0 where the commonest of the training classes is the right one."""
    return (truth == labels.mode().values).double().numpy()


def counts_of(part: Part, paths: Iterable[str]) -> np.ndarray:
    """The number of objects in images, float64 [n]."""
    return np.array([part.targets.annotations[path].count for path in paths], np.float64)


def count_edges(train: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Inner edges and names of the classes of counts, from the training counts [n] (VTAB's Clevr/Count: each its own).

    Every number is a class where there are at most ten and each has five images; else there are up to six bins of
    about as many images each. Raises UsageError if all counts are equal.
    """
    numbers, images = np.unique(train, return_counts=True)
    if len(numbers) < 2:
        raise UsageError(f"every training image shows {numbers[0]} objects: counting needs images that differ")
    if len(numbers) <= MOST and images.min() >= LEAST:
        return (numbers[:-1] + numbers[1:]) / 2, [f"{n:g}" for n in numbers]
    edges = np.unique(np.ceil(np.quantile(train, np.arange(1, BINS) / BINS)) - 0.5)
    edges = edges[(edges > numbers[0]) & (edges < numbers[-1])]
    if not len(edges):
        edges = np.array([(numbers[0] + numbers[1]) / 2])
    lows, highs = [numbers[0], *np.ceil(edges)], [*np.floor(edges), numbers[-1]]
    return edges, [f"{low:g} to {high:g}" for low, high in zip(lows, highs, strict=True)]


def counted(train: np.ndarray, test: np.ndarray) -> Classes:
    """Classes of training and test counts; -1 for what training never shows."""
    edges, names = count_edges(train)
    known = np.where(never_shown(train, test), -1, classes_of(test, edges))
    return torch.from_numpy(classes_of(train, edges)), torch.from_numpy(known), names


def never_shown(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Which test counts [m] bool have no class: none of the training counts or, of bins, beyond the outer ones."""
    numbers = np.unique(train)
    if len(count_edges(train)[1]) == len(numbers):
        return ~np.isin(test, numbers)
    return (test < numbers[0]) | (test > numbers[-1])


def classes_of(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The class [n] int64 of each value [n]; one on an edge belongs above it."""
    return np.searchsorted(edges, values, side="right").astype(np.int64)
