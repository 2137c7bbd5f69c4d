"""The nearest neighbours of every image of an index, all pairs being compared a block at a time.

Most cosines of a block are below the k-th best so far: they are dropped by one comparison, and only the few others are
sorted.
"""

import numpy as np
import torch
from torch import Tensor

from openjepa.indexing.vectors import Vectors

QUERIES = 1024
FEW = 4  # times k candidates of a row up to which they are taken out before they are sorted


def nearest_of_all(vectors: Vectors, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The places [n, k] of the k nearest other vectors of each, nearest first, and their cosines float32 [n, k].

    k is less than n.
    """
    places, cosines = [np.empty((0, k), np.int64)], [np.empty((0, k), np.float32)]
    for start, block in vectors.blocks():
        for number, part in enumerate(block.split(QUERIES)):
            first = start + number * QUERIES
            found, values = _nearest(vectors, part, first, k)
            places.append(found.numpy())
            cosines.append(values.numpy())
    return np.concatenate(places), np.concatenate(cosines)


def _nearest(vectors: Vectors, queries: Tensor, first: int, k: int) -> tuple[Tensor, Tensor]:
    """The nearest of vectors that lie from `first` on, without themselves."""
    rows = torch.arange(len(queries))
    values, places = torch.full((len(queries), k), -torch.inf), torch.zeros(len(queries), k, dtype=torch.int64)
    for start, block in vectors.blocks():
        cosines = queries @ block.T
        own = (rows + first >= start) & (rows + first < start + len(block))
        cosines[rows[own], rows[own] + first - start] = -torch.inf
        best, found = _candidates(cosines, values[:, -1:], k)
        kept = torch.cat([values, best], dim=1).topk(k, dim=1)
        values, places = kept.values, torch.cat([places, found + start], dim=1).gather(1, kept.indices)
    return places, values


def _candidates(cosines: Tensor, least: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The values [q, m] and columns [q, m] of cosines [q, b] among which are the k best above `least` [q, 1].

    Values that fill up a row are -inf.
    """
    above = cosines > least
    counts = above.sum(dim=1)
    most = int(counts.max())
    if most > FEW * k:
        best = cosines.topk(min(k, cosines.shape[1]), dim=1)
        return best.values, best.indices
    row, column = above.nonzero(as_tuple=True)
    within = torch.arange(len(row)) - (counts.cumsum(0) - counts)[row]
    values = torch.full((len(cosines), most), -torch.inf)
    columns = torch.zeros(len(cosines), most, dtype=torch.int64)
    values[row, within], columns[row, within] = cosines[row, column], column
    return values, columns
