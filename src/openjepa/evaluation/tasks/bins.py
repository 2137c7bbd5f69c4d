"""Quantities as classes, so that a linear classifier can be asked for them as in VTAB."""

import itertools

import numpy as np

from openjepa.errors import UsageError

LEAST, MOST = 5, 10  # images a number needs, and numbers there may be, to be classes of their own
BINS = 6


def count_classes(train: np.ndarray) -> tuple[np.ndarray, list[str]]:
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


def counted(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Classes [n] and [m] int64 of training and test counts, and their names; -1 for what training never shows."""
    edges, names = count_classes(train)
    return classes_of(train, edges), np.where(never_shown(train, test), -1, classes_of(test, edges)), names


def never_shown(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Which test counts [m] bool have no class: none of the training counts or, of bins, beyond the outer ones."""
    numbers = np.unique(train)
    if len(count_classes(train)[1]) == len(numbers):
        return ~np.isin(test, numbers)
    return (test < numbers[0]) | (test > numbers[-1])


def distance_classes(edges: np.ndarray) -> list[str]:
    """Names of the classes between inner edges."""
    return [
        f"below {edges[0]:g}",
        *(f"{a:g} to {b:g}" for a, b in itertools.pairwise(edges)),
        f"from {edges[-1]:g}",
    ]


def classes_of(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The class [n] int64 of each value [n]; one on an edge belongs above it."""
    return np.searchsorted(edges, values, side="right").astype(np.int64)
