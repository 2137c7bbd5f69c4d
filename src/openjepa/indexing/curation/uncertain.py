"""Images to label next: those that the spread of a few labels is least certain of, and no two much alike."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from openjepa.errors import UsageError
from openjepa.indexing.curation.label_spreading import spread_labels
from openjepa.indexing.searchable import Searchable

POOL = 5  # times as many of the least certain images, among which are chosen those furthest from each other


def sample_uncertain(index: Searchable, count: int, given: Mapping[str, str], seed: int = 0) -> pa.Table:
    """Images without a label in the order in which they were chosen, from labels `given` by path.

    The least certain image is first; then always that of the 5 x `count` least certain ones which is furthest from all
    chosen ones, since the least certain images are often alike.

    Columns: rank, path, cosine (to the nearest that was chosen before), label (the likeliest), confidence. UsageError.
    """
    table = spread_labels(index, given, seed).table
    fresh = table.filter(pc.is_null(table["given"]))  # the least certain first
    if not 1 <= count <= len(fresh):
        raise UsageError(f"--n {count} is not possible: {len(fresh):,} images of {index.folder} have no label yet")
    pool = fresh.slice(0, POOL * count)
    chosen, cosine = _apart(index, pc.index_in(pool["path"], index.paths).to_pylist(), count)
    found = pool.take(pa.array(chosen))
    columns = {"rank": range(1, count + 1), "path": found["path"], "cosine": cosine}
    return pa.table(columns | {"label": found["label"], "confidence": found["confidence"]})


def _apart(index: Searchable, places: list[int], count: int) -> tuple[list[int], list[float | None]]:
    """Numbers of some of the images at `places`, the first and then always the furthest, with their cosines."""
    vectors = index.vectors.at(places).numpy()
    chosen, cosine = [0], list[float | None]([None])
    nearest = vectors @ vectors[0]
    nearest[0] = np.inf
    while len(chosen) < count:
        next_one = int(nearest.argmin())
        cosine.append(float(nearest[next_one]))
        chosen.append(next_one)
        nearest = np.maximum(nearest, vectors @ vectors[next_one])
        nearest[next_one] = np.inf
    return chosen, cosine
