"""The vectors of an index, a block at a time, so that memory does not grow with their number."""

from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from openjepa.encoder.similarity import ROUNDING, pair_cosines
from openjepa.encoder.whitening import Whitening, chosen, fits
from openjepa.indexing.store import Store
from openjepa.rng import SAMPLES, generator

BLOCK = 2**22  # numbers in a block of vectors
CACHED = 2**28  # bytes of vectors that are kept in memory between queries
SAMPLED = 1_500  # vectors whose pairs stand for all pairs


class Vectors:
    """The n vectors of an index in its stored order, as unit vectors.

    With `whiten` they are whitened before, by the covariance of the index itself (`Whitening`), where there are enough.
    """

    def __init__(self, store: Store, whiten: bool = True) -> None:
        self.store, self.count, self.dimensions = store, len(store), store.about.dimensions
        self._whiten = whiten and fits(self.count, self.dimensions)
        self._held: Tensor | None = None
        self._pairs: Tensor | None = None

    @cached_property
    def whitening(self) -> Whitening | None:
        """None where the vectors stay as they are."""
        if not self._whiten:
            return None
        places, start, some = chosen(self.count), 0, []
        for batch in self.store.batches(["vector"]):
            matrix = as_matrix(batch)
            some.append(matrix[places[(places >= start) & (places < start + len(matrix))] - start])
            start += len(matrix)
        return Whitening.fit(torch.from_numpy(np.concatenate(some)).float())

    def unit(self, vectors: Tensor) -> Tensor:
        """Vectors [m, D] of a model, float32, as those of the index are compared: whitened, and of length 1."""
        return unit(self.whitening(vectors) if self.whitening else vectors)

    def blocks(self) -> Iterator[tuple[int, Tensor]]:
        """(place of the first, unit vectors [b, D] float32) of all vectors; those of a small index are read once."""
        if self._held is None and self.count * self.dimensions * 4 <= CACHED:
            parts = [block for _, block in self._read()]
            self._held = torch.cat(parts) if parts else torch.empty(0, self.dimensions)
        if self._held is None:
            yield from self._read()
            return
        rows = max(1, BLOCK // self.dimensions)
        for number, block in enumerate(self._held.split(rows)):
            yield number * rows, block

    def _read(self) -> Iterator[tuple[int, Tensor]]:
        rows, start = max(1, BLOCK // self.dimensions), 0
        for batch in self.store.batches(["vector"]):
            for block in torch.tensor(as_matrix(batch)).split(rows):
                yield start, self.unit(block.float())
                start += len(block)

    def at(self, places: Sequence[int]) -> Tensor:
        """The unit vectors [m, D] at some places, in their order."""
        if self._held is not None:
            return self._held[list(places)]
        wanted = np.asarray(places, np.int64)
        found = torch.zeros(len(wanted), self.dimensions)
        for start, block in self.blocks():
            here = np.flatnonzero((wanted >= start) & (wanted < start + len(block)))
            found[torch.from_numpy(here)] = block[torch.from_numpy(wanted[here] - start)]
        return found

    def percentile(self, cosines: Tensor) -> Tensor:
        """The percentage of pairs of different images whose cosine is lower: of all pairs, or of those of a sample."""
        if self._pairs is None:
            some = np.sort(generator(0, SAMPLES).permutation(self.count)[:SAMPLED])
            self._pairs = pair_cosines(self.at(some.tolist()))
        return 100 * torch.searchsorted(self._pairs, cosines.contiguous() - ROUNDING) / max(1, len(self._pairs))


def as_matrix(batch: pa.RecordBatch) -> np.ndarray:
    """The column vector of a batch as float16 [b, D]."""
    column = batch.column("vector")
    flat = column.flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(len(column), -1)


def unit(vectors: Tensor) -> Tensor:
    return torch.nn.functional.normalize(vectors, dim=-1)


def best(
    vectors: Vectors, like: Tensor, unlike: Tensor, top: int, allowed: np.ndarray
) -> tuple[np.ndarray, Tensor, Tensor]:
    """Places of the `top` allowed vectors by score, best first, with their mean cosines to `like`, and scores.

    The score is the mean cosine to `like` [a, D] less that to `unlike` [b, D], of unit vectors; every vector is
    compared. Equal scores are in stored order.
    """
    wanted = unit(like).mean(dim=0)
    against = unit(unlike).mean(dim=0) if len(unlike) else torch.zeros_like(wanted)
    both = torch.stack([wanted, wanted - against], dim=1)
    inside, everywhere = torch.from_numpy(allowed), bool(allowed.all())
    places, found = [torch.empty(0, dtype=torch.int64)], [torch.empty(0, 2)]
    for start, block in vectors.blocks():
        values = block @ both
        scores = values[:, 1]
        if not everywhere:
            scores = scores.masked_fill(~inside[start : start + len(block)], -torch.inf)
        kept = scores.topk(min(top, len(scores))).indices
        kept = kept[scores[kept] > -torch.inf].sort().values
        places.append(start + kept)
        found.append(values[kept])
    merged, all_places = torch.cat(found), torch.cat(places)
    order = merged[:, 1].argsort(descending=True, stable=True)[:top]
    return all_places[order].numpy(), merged[order, 0], merged[order, 1]
