"""Groups of similar images, and samples of few that stand for many."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
from sklearn.cluster import MiniBatchKMeans

from openjepa.errors import UsageError, unknown
from openjepa.indexing.searchable import Searchable
from openjepa.indexing.vectors import unit

MOST_BY_DEFAULT = 50
FITTED = 100_000  # images that centres are fitted to
UNCERTAIN = "uncertain"  # of which uncertain.py is
WAYS = ("diverse", "typical", UNCERTAIN)


def clusters(index: Searchable, count: int | None = None, seed: int = 0) -> pa.Table:
    """Every image with its cluster, by k-means on unit vectors; clusters by falling size, their images by closeness.

    `count` clusters; by default the square root of half the number of images, up to 50.

    Columns: cluster (from 1), path, cosine (to the centre of its cluster), size, nearest (the cluster whose centre is
    nearest). Raises UsageError.
    """
    found = grouped(index, count, seed)
    order = np.lexsort((-found.cosine, found.cluster))
    mine = found.cluster[order]
    columns = {"cluster": mine, "path": index.paths.take(pa.array(order)), "cosine": found.cosine[order]}
    return pa.table(columns | {"size": found.sizes[mine - 1], "nearest": found.nearest[mine - 1]})


class Grouped(NamedTuple):
    """The cluster [n] of each image, from 1, by falling size, and its cosine [n] to the centre of that; and of each
    cluster [c] its size, and the cluster whose centre is nearest (0 where there is one cluster)."""

    cluster: np.ndarray
    cosine: np.ndarray
    sizes: np.ndarray
    nearest: np.ndarray


def grouped(index: Searchable, count: int | None = None, seed: int = 0) -> Grouped:
    """`clusters` in stored order. Raises UsageError."""
    count = count or max(1, min(MOST_BY_DEFAULT, round((len(index) / 2) ** 0.5)))
    centres = fitted_centres(index, count, seed)
    member, cosine = assigned(index, centres)
    sizes = np.bincount(member, minlength=count)
    order = np.argsort(-sizes, kind="stable")
    rank = np.empty(count, np.int64)
    rank[order] = np.arange(1, count + 1)
    between = centres @ centres.T - 2 * torch.eye(count)
    nearest = rank[between.argmax(dim=1).numpy()] if count > 1 else np.zeros(1, np.int64)
    return Grouped(rank[member], cosine, sizes[order], nearest[order])


def sample(index: Searchable, count: int, by: str = "diverse", seed: int = 0) -> pa.Table:
    """A few images that stand for all, in the order in which they were chosen.

    diverse   from the one that is most typical on, always the image furthest from all chosen ones (Gonzalez 1985,
              "Clustering to minimize the maximum intercluster distance"): odd images come early
    typical   the image nearest to the centre of each of `count` clusters (as Hacohen et al. 2022, arXiv 2202.02794)

    Columns: rank, path, and cosine: diverse, to the nearest that was chosen before; typical, to the centre.
    """
    if by not in WAYS:
        raise UsageError(unknown("--by", by, WAYS))
    if not 1 <= count <= len(index):
        raise UsageError(f"--n {count} is not possible: {index.folder} holds {len(index):,} images")
    chosen, cosine = (_diverse if by == "diverse" else _typical)(index, count, seed)
    return pa.table({"rank": range(1, count + 1), "path": index.paths.take(pa.array(chosen)), "cosine": cosine})


def fitted_centres(index: Searchable, count: int, seed: int) -> torch.Tensor:
    """Unit centres [count, D] of clusters. Raises UsageError for more clusters than images."""
    if not 1 <= count <= len(index):
        raise UsageError(f"--count {count} is not possible: {index.folder} holds {len(index):,} images")
    some = np.sort(np.random.default_rng(seed % 2**64).permutation(len(index))[: max(FITTED, count)])
    vectors = index.vectors.at(some.tolist()).numpy()
    batch = max(1024, 3 * count)
    means = MiniBatchKMeans(count, random_state=seed % 2**32, n_init=3, batch_size=batch).fit(vectors)
    return unit(torch.from_numpy(means.cluster_centers_).float())


def assigned(index: Searchable, centres: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The nearest centre [n] of each image, and the cosine [n] to it."""
    best = [(block @ centres.T).max(dim=1) for _, block in index.vectors.blocks()]
    return torch.cat([each.indices for each in best]).numpy(), torch.cat([each.values for each in best]).numpy()


def _diverse(index: Searchable, count: int, seed: int) -> tuple[list[int], list[float | None]]:
    centre = unit(torch.stack([block.sum(dim=0) for _, block in index.vectors.blocks()]).sum(dim=0))
    chosen = [int(_cosines(index, centre).argmax())]
    nearest = _cosines(index, index.vectors.at(chosen)[0])
    cosine: list[float | None] = [None]
    nearest[chosen] = torch.inf
    while len(chosen) < count:
        place = int(nearest.argmin())
        cosine.append(float(nearest[place]))
        chosen.append(place)
        nearest = torch.maximum(nearest, _cosines(index, index.vectors.at([place])[0]))
        nearest[place] = torch.inf
    return chosen, cosine


def _typical(index: Searchable, count: int, seed: int) -> tuple[list[int], list[float | None]]:
    """One image a cluster; where clusters are empty, further images of the largest ones."""
    member, cosine = assigned(index, fitted_centres(index, count, seed))
    sizes = np.bincount(member, minlength=count)
    order = np.lexsort((-cosine, -sizes[member], member))
    within = np.concatenate([np.arange(size) for size in sizes[sizes > 0]])
    first = order[np.lexsort((-sizes[member[order]], within))][:count]
    return first.tolist(), cosine[first].tolist()


def _cosines(index: Searchable, vector: torch.Tensor) -> torch.Tensor:
    return torch.cat([block @ vector for _, block in index.vectors.blocks()])
