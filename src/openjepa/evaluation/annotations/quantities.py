"""Counts and distances as classes, so that a linear classifier can be measured on them as in VTAB."""

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from openjepa.data.dataset import UNLABELLED
from openjepa.errors import UsageError
from openjepa.evaluation.probes.best_linear import validation_split
from openjepa.evaluation.probes.ridge import Ridge, ridge
from openjepa.evaluation.results import Result
from openjepa.evaluation.session import Answers, Part, Session

LEAST, MOST = 5, 10  # images a number needs, and numbers there may be, to be classes of their own
BINS = 6
NEVER_SHOWN = -2  # the class of test images whose count training never shows: they are tested on, and never right
Classes = tuple[Tensor, Tensor, list[str]]  # of the training [n] and test images [m] int64, and their names


def count_classes(session: Session) -> Answers:
    """The classes of the number of objects; NEVER_SHOWN for test images whose count training never shows."""
    train, test = (counts_of(part, session.paths(part)) for part in (session.train, session.test))
    numbers, truth, names = counted(train[~np.isnan(train)], test[~np.isnan(test)])
    return session.answers(("quantity", "count"), names, _where_known(train, numbers), _where_known(test, truth))


def distance_classes(session: Session) -> Answers:
    """The classes of the distance of the nearest object."""
    edges = np.asarray(session.train.targets.edges)
    classes = []
    for part in (session.train, session.test):
        values = distances_of(part, session.paths(part))
        classes.append(_where_known(values, torch.from_numpy(classes_of(values[~np.isnan(values)], edges))))
    between = [f"{a:g} to {b:g}" for a, b in itertools.pairwise(edges)]
    return session.answers(("quantity", "distance"), [f"below {edges[0]:g}", *between, f"from {edges[-1]:g}"], *classes)


VALUES: dict[str, Callable[[Part, Iterable[str]], np.ndarray]] = {}  # by quantity; filled below


@dataclass(frozen=True)
class Regression:
    """Ridge regression of a quantity on embeddings.

    head    fitted on the training images
    counts  float64 [n], what is true of the training images
    truth   float64 [m], what is true of the test images, and `guess` what the head says of them
    """

    head: Ridge
    counts: np.ndarray
    truth: np.ndarray
    guess: np.ndarray

    @property
    def errors(self) -> np.ndarray:
        return np.abs(self.guess - self.truth)


def regression(session: Session, answers: Answers) -> Regression:
    """The quantity of answers as a number, by the ridge regression that is best on a tenth of the training images."""
    train, test = answers.embeddings
    rows = (session.train, answers.train_rows), (session.test, answers.test_rows)
    read = VALUES[answers.name]
    counts, truth = (read(part, [part.dataset.paths[row] for row in known]) for part, known in rows)
    numbers = torch.from_numpy(counts).float()[:, None]
    fit, validation = validation_split(len(train), session.seed)
    head = ridge(train[fit], numbers[fit], train[validation], numbers[validation], session.probe_device)
    return Regression(head, counts, truth, head.predict(test)[:, 0].numpy())


def _where_known(values: np.ndarray, classes: Tensor) -> Tensor:
    """Classes of the values [n] that are not NaN as int64 [n], UNLABELLED elsewhere."""
    whole = torch.full((len(values),), UNLABELLED)
    whole[torch.from_numpy(~np.isnan(values))] = classes
    return whole


def quantity_result(session: Session, answers: Answers) -> Result:
    """The accuracy of a linear probe for the classes of a quantity."""
    if len(answers.labels.unique()) < 2:
        only = answers.names[int(answers.labels[0])]
        raise UsageError(f"all training images fall in one class of {answers.name} ({only}): add others")
    result = session.linear_result(answers.name, answers)
    about = {"classes": list(answers.names)} | about_kind(session)
    constant = result.constant and replace(result.constant, protocol=result.constant.protocol | about)
    return replace(result, protocol=result.protocol | about, constant=constant)


def about_kind(session: Session) -> dict[str, str]:
    """What joins the protocol of a result on objects of one kind: its name."""
    kind = session.train.targets.kind
    return {} if kind is None else {"kind": kind}


def counts_of(part: Part, paths: Iterable[str]) -> np.ndarray:
    """The number of objects in images, float64 [n]; NaN where it is not known."""
    return np.array([known.count if (known := part.targets.annotations.get(path)) else np.nan for path in paths], float)


def distances_of(part: Part, paths: Iterable[str]) -> np.ndarray:
    """The distance of the nearest object in images, float64 [n]; NaN where it is not known."""
    found = (part.targets.annotations.get(path) for path in paths)
    return np.array([known.distance if known else None for known in found], float)


VALUES |= {"count": counts_of, "distance": distances_of}


def count_edges(train: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Inner edges and names of the classes of counts, from the training counts [n] (VTAB's Clevr/Count: each its own).

    Every number is a class where there are at most ten and each has five images; else there are up to six bins of
    about as many images each. Raises UsageError if there are none, or all are equal.
    """
    numbers, images = np.unique(train, return_counts=True)
    if not len(numbers):
        raise UsageError("no training image has annotations: counting needs those of two or more")
    if len(numbers) < 2:
        raise UsageError(f"every training image shows {numbers[0]} objects: counting needs images that differ")
    if len(numbers) <= MOST and images.min() >= LEAST:
        return (numbers[:-1] + numbers[1:]) / 2, [f"{n:g}" for n in numbers]
    edges = np.unique(np.ceil(np.quantile(train, np.arange(1, BINS) / BINS)) - 0.5)
    edges = edges[(edges > numbers[0]) & (edges < numbers[-1])]
    if not len(edges):
        edges = np.array([(numbers[0] + numbers[1]) / 2])
    lows, highs = [numbers[0], *np.ceil(edges)], [*np.floor(edges), numbers[-1]]
    return edges, [f"{low:g}" if low == high else f"{low:g} to {high:g}" for low, high in zip(lows, highs, strict=True)]


def counted(train: np.ndarray, test: np.ndarray) -> Classes:
    """Classes of training and test counts; NEVER_SHOWN for what training never shows."""
    edges, names = count_edges(train)
    known = np.where(never_shown(train, test), NEVER_SHOWN, classes_of(test, edges))
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
