"""Images that lie where an index is thin: by the local outlier factor (Breunig et al. 2000, "LOF"), simplified."""

import numpy as np
import pyarrow as pa

from openjepa.errors import UsageError
from openjepa.indexing.curation.neighbours import nearest_of_all
from openjepa.indexing.searchable import Searchable

NEIGHBOURS, SHOWN = 10, 5
LEAST = 1e-6  # distance of images that are taken for equal


def outliers(index: Searchable, top: int = 50) -> pa.Table:
    """The images that are furthest from their neighbours, for how far these are from theirs; the oddest first.

    The distance of an image is the mean of 1 - cosine to its 10 nearest others. Its score is that distance over the
    median of its neighbours' own distances: about 1 in the midst of others.

    Columns: path, score, distance, neighbours (the paths of the 5 nearest). Raises UsageError for fewer than 3 images.
    """
    score, distance, places = outlier_scores(index)
    order = np.argsort(-score, kind="stable")[:top]
    paths = index.paths
    near = [paths.take(pa.array(row[:SHOWN])).to_pylist() for row in places[order]]
    found = {"path": paths.take(pa.array(order)), "score": score[order], "distance": distance[order]}
    return pa.table(found | {"neighbours": pa.array(near, pa.list_(pa.string()))})


def outlier_scores(index: Searchable) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The scores [n] of all images in stored order, their distances [n], and the places [n, k] of their neighbours."""
    if len(index) < 3:
        raise UsageError(f"{index.folder} holds {len(index)} images: outliers are told among 3 or more")
    places, cosines = nearest_of_all(index.vectors, min(NEIGHBOURS, len(index) - 1))
    distance = np.maximum(1 - cosines.mean(axis=1), LEAST)
    score = distance / np.median(distance[places], axis=1)
    return score, distance, places
