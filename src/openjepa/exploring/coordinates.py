"""The map of an index: two coordinates for each image, so that similar ones lie together.

They are made of the whitened vectors, by which `search` compares, so that neighbours on the map are those of a search.
"""

import contextlib
import hashlib
import importlib.util
from pathlib import Path
from typing import Literal
from weakref import WeakKeyDictionary

import numpy as np
import torch
from scipy.sparse.linalg import eigsh

from openjepa.console import log
from openjepa.files import atomic_file
from openjepa.indexing.searchable import Searchable
from openjepa.optional import require
from openjepa.rng import SAMPLES, generator

LEAST = 50  # images from which on UMAP shows more than PCA
FITTED = 10_000  # images that a map is fitted to; for UMAP, others lie between the nearest of these
SMALL = 512  # numbers of a vector up to which all directions are computed
AROUND, LEAST_DISTANCE = 15, 0.1  # UMAP's n_neighbors and min_dist, as its authors set them
NEAREST = 5
EDITION = b"1"  # raised when the way in which maps are made changes
BLOCK = 2**22  # numbers in a block of cosines
Method = Literal["umap", "pca"]
_digests: WeakKeyDictionary[Searchable, bytes] = WeakKeyDictionary()  # of the vectors of indexes that are open


def best_method(count: int) -> Method:
    """umap; pca of few images, and where umap-learn is missing."""
    return "umap" if count >= LEAST and importlib.util.find_spec("umap") else "pca"


def coordinates(index: Searchable, method: Method) -> np.ndarray:
    """float32 [n, 2], the larger range in [-1, 1]; those of UMAP are kept in the folder of the index.

    The same vectors give the same map, and other ones (the index has changed) another.
    """
    if method == "pca":
        return scaled(by_pca(index))
    kept = stored_coordinates(index, method)
    if kept is not None:
        return kept
    found = scaled(by_umap(index))
    _store(index.folder, file_of(index, method), found)
    return found


def stored_coordinates(index: Searchable, method: Method) -> np.ndarray | None:
    """The map that was kept; None where there is none of these vectors, and where it is damaged."""
    with contextlib.suppress(OSError, ValueError, EOFError):
        path = file_of(index, method)
        if path.is_file() and path.stat().st_size <= len(index) * 8 + 1024:
            found = np.load(path, allow_pickle=False)
            right = found.dtype == np.float32 and found.shape == (len(index), 2)
            if right and np.isfinite(found).all() and (np.abs(found) <= 1).all():
                return found
    return None


def file_of(index: Searchable, method: Method) -> Path:
    """Where the map of an index is kept. The name has a hash of the vectors, so that it is found for these alone."""
    return index.folder / f"map-{_digest(index, method)}.npy"


def _digest(index: Searchable, method: Method) -> str:
    if index not in _digests:
        found = hashlib.sha256()
        for batch in index.vectors.store.batches(["vector"]):
            found.update(np.ascontiguousarray(batch.column("vector").flatten().to_numpy(zero_copy_only=False)).data)
        _digests[index] = found.digest()
    return hashlib.sha256(EDITION + method.encode() + _digests[index]).hexdigest()[:16]


def _store(folder: Path, path: Path, found: np.ndarray) -> None:
    """Keep a map, and delete those of earlier vectors; where nothing can be written, it is made again next time."""
    try:
        with atomic_file(path) as part, part.open("wb") as stream:
            np.save(stream, found)
        for old in folder.glob("map-*.npy"):
            if old != path:
                old.unlink(missing_ok=True)
    except OSError as error:
        log(f"the map cannot be kept in {folder} ({error.strerror or error}): it is made again next time")


def scaled(points: np.ndarray) -> np.ndarray:
    """Points [n, 2] about their middle, the larger of the two ranges in [-1, 1]."""
    low, high = points.min(axis=0), points.max(axis=0)
    half = max(float((high - low).max()) / 2, 1e-12)
    return np.clip((points - (low + high) / 2) / half, -1, 1).astype(np.float32)


def by_pca(index: Searchable) -> np.ndarray:
    """The first two principal components [n, 2] of up to 10,000 images; the sign of each is that of its largest
    weight."""
    vectors = _sample(index)[1].double()
    mean = vectors.mean(dim=0)
    covariance = (vectors - mean).T @ (vectors - mean) / len(vectors)
    if len(covariance) <= SMALL:
        directions = torch.linalg.eigh(covariance)[1][:, -2:].flip(1)
    else:
        found = eigsh(covariance.numpy(), 2, v0=np.ones(len(covariance)))[1]
        directions = torch.from_numpy(found[:, ::-1].copy())
    directions = directions * directions.gather(0, directions.abs().argmax(dim=0)[None]).sign()
    parts = torch.cat([(block.double() - mean) @ directions for _, block in index.vectors.blocks()]).numpy()
    return np.pad(parts, ((0, 0), (0, 2 - parts.shape[1])))


def _sample(index: Searchable) -> tuple[np.ndarray, torch.Tensor]:
    """The places of up to 10,000 images, sorted, and their vectors."""
    some = np.sort(generator(0, SAMPLES).permutation(len(index))[:FITTED])
    return some, index.vectors.at(some.tolist())


def by_umap(index: Searchable) -> np.ndarray:
    """UMAP (McInnes et al. 2018, arXiv 1802.03426) of up to 10,000 images, and the others between those [n, 2].

    Each of the others lies at the mean of its 5 nearest images on the map, weighted by how close they are.
    """
    some, vectors = _sample(index)
    fitted = require("umap", "explore").UMAP(
        n_neighbors=min(AROUND, len(some) - 1), min_dist=LEAST_DISTANCE, init="pca", random_state=0, n_jobs=1
    )
    points = torch.from_numpy(np.asarray(fitted.fit_transform(vectors.numpy()), np.float32))
    if len(some) == len(index):
        return points.numpy()
    found = torch.cat([_between(block, vectors, points) for _, block in index.vectors.blocks()])
    found[torch.from_numpy(some)] = points
    return found.numpy()


def _between(block: torch.Tensor, vectors: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Where unit vectors [b, D] lie among others [m, D] with points [m, 2]."""
    parts = []
    for part in block.split(max(1, BLOCK // len(vectors))):
        cosines, nearest = (part @ vectors.T).topk(NEAREST, dim=1)
        weights = torch.softmax(-(1 - cosines) / (1 - cosines[:, -1:]).clamp(min=1e-6), dim=1)
        parts.append((weights[..., None] * points[nearest]).sum(dim=1))
    return torch.cat(parts)
