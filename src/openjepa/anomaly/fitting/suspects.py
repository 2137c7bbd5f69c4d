"""Normal images that may not be normal: those that are far from all others, each left out of the memory."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor

from openjepa.anomaly.detector import Suspect

FAR = 6.0  # standard deviations above the median
LEAST = 40  # images from which on one can be told from the others
LISTED = 10
HELD = 2**28  # bytes of readings that are kept between two passes
UPPER, UPPER_NORMAL = 0.9, 1.2816  # a quantile, and where it is in a standard normal distribution


class Batch(NamedTuple):
    """What is read of images [B, ...], and the places [B] of these in their dataset."""

    values: Tensor
    places: list[int]


class TwoPasses:
    """Batches that are gone through twice: the first `held` bytes are kept in between, the others are read again."""

    def __init__(self, held: int = HELD) -> None:
        self.room = held
        self.kept: list[Batch] = []
        self.places: list[int] = []

    def first(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        for batch in batches:
            self.places += batch.places
            if self.room > 0:
                self.kept.append(batch)
                self.room -= batch.values.nbytes
            yield batch

    def again(self, read: Callable[[np.ndarray], Iterator[Batch]]) -> Iterator[Batch]:
        """The same images in the same order; `read` gives batches of the images at some places."""
        yield from self.kept
        done = sum(len(batch.places) for batch in self.kept)
        if done < len(self.places):
            yield from read(np.array(self.places[done:]))


def standard(distances: np.ndarray) -> np.ndarray:
    """Distances [n] in standard deviations above their median.

    The deviation is that of a normal distribution with the same median and 0.9 quantile, so that it is of the upper
    side alone and up to a tenth of the distances, however large, hardly change it.
    """
    middle = np.median(distances)
    deviation = (np.quantile(distances, UPPER) - middle) / UPPER_NORMAL
    return (distances - middle) / max(float(deviation), 1e-6)


def find_suspects(paths: Sequence[str], distances: np.ndarray) -> tuple[Suspect, ...]:
    """The images that lie more than `FAR` standard deviations above the median, the farthest first, at most `LISTED`.

    `distances` [n] are scores of a memory without the image itself. Of fewer than `LEAST` images none is told apart.
    """
    if len(distances) < LEAST:
        return ()
    above = standard(distances)
    falling = np.argsort(-above, kind="stable")[:LISTED]
    return tuple(Suspect(paths[place], float(above[place])) for place in falling if above[place] > FAR)
