"""The nearest neighbours of every image of an index, all pairs being compared a block at a time."""

import numpy as np
import torch

from openjepa.indexing.vectors import Vectors

QUERIES = 1024


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


def _nearest(vectors: Vectors, queries: torch.Tensor, first: int, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The nearest of vectors that lie from `first` on, without themselves."""
    rows = torch.arange(len(queries))
    values, places = torch.empty(len(queries), 0), torch.empty(len(queries), 0, dtype=torch.int64)
    for start, block in vectors.blocks():
        cosines = queries @ block.T
        own = (rows + first >= start) & (rows + first < start + len(block))
        cosines[rows[own], rows[own] + first - start] = -torch.inf
        best = cosines.topk(min(k, len(block)), dim=1)
        values = torch.cat([values, best.values], dim=1)
        places = torch.cat([places, best.indices + start], dim=1)
        kept = values.topk(min(k, values.shape[1]), dim=1)
        values, places = kept.values, places.gather(1, kept.indices)
    return places, values
