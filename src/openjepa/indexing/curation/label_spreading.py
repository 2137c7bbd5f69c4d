"""A few labels made many: spread over the graph of nearest neighbours, with confidences checked on held-out labels.

Zhou et al. 2004, "Learning with local and global consistency": F <- a S F + (1 - a) Y, where S is the symmetrically
normalised graph of neighbours and Y the given labels.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from scipy.optimize import minimize_scalar
from scipy.sparse import coo_matrix, csr_matrix, diags

from openjepa.errors import UsageError
from openjepa.indexing.curation.neighbours import nearest_of_all
from openjepa.indexing.searchable import Searchable

NEIGHBOURS, ALPHA, ROUNDS, FOLDS = 15, 0.95, 40, 5
LEAST_GIVEN = 2  # of a class, so that one can be held out
TINY = 1e-12


@dataclass(frozen=True)
class Spread:
    """What became of some labels.

    table     path, given (null where none was), label, confidence, disagrees: of a given label whether the others,
              without it, say another one. Images without given labels come first, the least confident before others
    accuracy  the fraction of given labels that the others, without their fold, get right; None where none can be held
    """

    table: pa.Table
    accuracy: float | None


def spread_labels(index: Searchable, given: Mapping[str, str], seed: int = 0) -> Spread:
    """Labels of all images from those of a few, `given` by path. Raises UsageError.

    Confidences are probabilities, made sharper or flatter (a temperature) until those of held-out labels fit best. Of
    an image with a given label the table has what the other labels say of it.
    """
    places = {path: place for place, path in enumerate(index.paths.to_pylist()) if path in given}
    classes = sorted({given[path] for path in places})
    if len(classes) < 2:
        raise UsageError(f"the labels name {len(classes)} classes of images of {index.folder}: give those of 2 or more")
    rows = np.array([*places.values()], np.int64)
    labels = np.array([classes.index(given[path]) for path in places], np.int64)
    graph = neighbour_graph(index)
    held_out, tested = _held_out(graph, rows, labels, len(classes), seed)
    temperature = _temperature(held_out[tested], labels[tested]) if tested.any() else 1.0
    scores = _probabilities(_spread(graph, rows, labels, len(classes)), temperature)
    scores[rows[tested]] = _probabilities(held_out[tested], temperature)
    accuracy = float((held_out[tested].argmax(1) == labels[tested]).mean()) if tested.any() else None
    return Spread(_table(index, scores, classes, rows, labels), accuracy)


def neighbour_graph(index: Searchable) -> csr_matrix:
    """The symmetric graph [n, n] of nearest neighbours, normalised; weights fall with the distance."""
    count = len(index)
    places, cosines = nearest_of_all(index.vectors, min(NEIGHBOURS, count - 1))
    distance = np.maximum(1 - cosines, TINY)
    weights = np.exp(-distance / np.maximum(distance[:, -1:], TINY))
    rows = np.repeat(np.arange(count), places.shape[1])
    one_way = coo_matrix((weights.ravel(), (rows, places.ravel())), shape=(count, count)).tocsr()
    both = one_way.maximum(one_way.T)
    scale = diags(1 / np.sqrt(np.maximum(np.asarray(both.sum(axis=1)).ravel(), TINY)))
    return csr_matrix(scale @ both @ scale)


def _spread(graph: csr_matrix, rows: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Scores [n, C] from given labels, every class with the same weight however many labels it has."""
    start = np.zeros((graph.shape[0], classes))
    start[rows, labels] = 1 / np.bincount(labels, minlength=classes)[labels]
    scores = start.copy()
    for _ in range(ROUNDS):
        scores = ALPHA * (graph @ scores) + (1 - ALPHA) * start
    return scores


def _held_out(
    graph: csr_matrix, rows: np.ndarray, labels: np.ndarray, classes: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Scores [m, C] of given labels by those of the other folds, and for which [m] there are any."""
    dice, fold = np.random.default_rng(seed % 2**64), np.zeros(len(rows), np.int64)
    for number in range(classes):  # every class in all folds
        mine = dice.permutation(np.flatnonzero(labels == number))
        fold[mine] = np.arange(len(mine)) % FOLDS
    scores, tested = np.zeros((len(rows), classes)), np.zeros(len(rows), bool)
    enough = np.bincount(labels, minlength=classes)[labels] >= LEAST_GIVEN
    for number in range(FOLDS):
        out = (fold == number) & enough
        if out.any():
            scores[out] = _spread(graph, rows[~out], labels[~out], classes)[rows[out]]
            tested |= out
    return scores, tested


def _probabilities(scores: np.ndarray, temperature: float) -> np.ndarray:
    """Scores [n, C] as probabilities; equal ones where nothing reaches an image."""
    logs = np.log(scores + TINY) / temperature
    powers = np.exp(logs - logs.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _temperature(scores: np.ndarray, labels: np.ndarray) -> float:
    """The temperature whose probabilities of the true labels are best (Guo et al. 2017, arXiv 1706.04599)."""

    def loss(logarithm: float) -> float:
        probabilities = _probabilities(scores, float(np.exp(logarithm)))
        return float(-np.log(probabilities[np.arange(len(labels)), labels] + 1e-6).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-2.5, 3.5), method="bounded").x))


def _table(index: Searchable, scores: np.ndarray, classes: list[str], rows: np.ndarray, labels: np.ndarray) -> pa.Table:
    best, given = scores.argmax(axis=1), np.full(len(scores), -1)
    given[rows] = labels
    confidence, known = scores.max(axis=1), given >= 0
    order = np.lexsort((confidence, known))
    names = pa.array(classes)
    return pa.table(
        {
            "path": index.paths.take(pa.array(order)),
            "given": names.take(pa.array(given[order], mask=~known[order])),
            "label": names.take(pa.array(best[order])),
            "confidence": confidence[order],
            "disagrees": pa.array((best != given)[order], mask=~known[order]),
        }
    )
