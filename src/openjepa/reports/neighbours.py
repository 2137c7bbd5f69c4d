"""The images most similar to some, with how similar that is among all pairs of images."""

import difflib
import math
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from openjepa.console import counting
from openjepa.data.crops import Frame
from openjepa.data.dataset import ImageDataset
from openjepa.encoder.encoder import Encoder
from openjepa.encoder.features import compute_features
from openjepa.errors import UsageError
from openjepa.reports.drawing import TILE, Tile, tile_of

QUERIES, NEIGHBOURS = 6, 6
SUGGESTED, COMPARED = 3, 20_000  # names that are suggested, and those among which similar ones are sought


class Neighbours(NamedTuple):
    """Rows of an image and those most similar to it, and the number of images that each was compared with."""

    rows: list[list[Tile]]
    searched: int


def find_neighbours(encoder: Encoder, sample: ImageDataset, workers: int, asked: Sequence[int] = ()) -> Neighbours:
    """Rows for the images `asked`, by their indices, or else for the first six. UsageError for unreadable ones."""
    with counting("embedding images") as progress:
        vectors, kept, _ = compute_features(encoder, sample, workers, progress=progress)
    row_of = {int(index): row for row, index in enumerate(kept)}
    if lost := [sample.paths[index] for index in asked if index not in row_of]:
        raise UsageError(f"--show {lost[0]} cannot be read as an image: give another one")
    if len(kept) < 2:
        return Neighbours([], 0)
    queries = [row_of[index] for index in asked] or range(min(QUERIES, len(kept)))
    found, cosines = nearest(vectors, queries, min(NEIGHBOURS, len(kept) - 1))
    ranks = fraction_below(vectors, cosines)
    frame = Frame(thumbnail_size(encoder.image_size), encoder.max_stretch)

    def tile(row: int, *similarity: str) -> Tile:
        return tile_of(sample, int(kept[row]), frame, before=similarity)

    rows = [
        [tile(query), *(tile(i, in_words(c, p)) for i, c, p in zip(*(part.tolist() for part in row), strict=True))]
        for query, *row in zip(queries, found, cosines, ranks, strict=True)
    ]
    return Neighbours(rows, len(kept) - 1)


def thumbnail_size(image_size: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of a small picture in the proportions of an image size."""
    height, width = (max(1, round(side * min(1, TILE / max(image_size)))) for side in image_size)
    return height, width


def in_words(cosine: float, below: float) -> str:
    """A cosine, and the fraction of pairs that are less similar, rounded down."""
    return f"{cosine:.3f} · {math.floor(1000 * below) / 10:.1f} %"


def nearest(embeddings: Tensor, queries: Sequence[int], k: int) -> tuple[Tensor, Tensor]:
    """The k images most similar to each query, best first, and their cosine similarities: two tensors [q, k].

    embeddings [n, D]; queries: q indices of them, which are never their own neighbours; k < n.
    """
    unit = torch.nn.functional.normalize(embeddings.float(), dim=1)
    cosines = unit[list(queries)] @ unit.T
    cosines[torch.arange(len(cosines)), list(queries)] = -torch.inf
    best = cosines.argsort(dim=1, descending=True, stable=True)[:, :k]
    return best, cosines.gather(1, best)


def fraction_below(embeddings: Tensor, cosines: Tensor) -> Tensor:
    """The fraction of all pairs of different embeddings [n, D] whose cosine is below each of `cosines`, any shape."""
    unit = torch.nn.functional.normalize(embeddings.float(), dim=1)
    pairs = (unit @ unit.T)[*torch.triu_indices(len(unit), len(unit), 1)].sort().values
    return torch.searchsorted(pairs, cosines.contiguous() - 1e-6) / len(pairs)


def indices_of(dataset: ImageDataset, names: Sequence[str]) -> np.ndarray:
    """The index of each image that is named by its path, or by enough of its end. Raises UsageError."""
    paths = [*dataset.paths] if names else []
    return np.array([_index_of(paths, str(name), dataset.source) for name in names], np.int64)


def _suggestion(paths: Sequence[str], name: str) -> str:
    """The images whose names are closest: those that differ in folder, case or suffix alone, else similar ones."""
    stem = PurePosixPath(name).stem.casefold()
    same = [path for path in paths if PurePosixPath(path).stem.casefold() == stem]
    names = {PurePosixPath(path).name: path for path in paths[:COMPARED]}
    alike = difflib.get_close_matches(PurePosixPath(name).name, names, n=SUGGESTED)
    close = same[:SUGGESTED] or [names[one] for one in alike]
    return f"did you mean {' or '.join(close)}?" if close else f"give one such as {paths[0]}"


def _index_of(paths: Sequence[str], name: str, source: str) -> int:
    plain = name.replace("\\", "/").removeprefix("./")
    found = [i for i, path in enumerate(paths) if path == plain]
    found = found or [i for i, path in enumerate(paths) if path.endswith(f"/{plain}") or plain.endswith(f"/{path}")]
    if not found:
        raise UsageError(f"--show {name} is none of the {len(paths):,} images of {source}: {_suggestion(paths, plain)}")
    if len(found) > 1:
        few = ", ".join(paths[i] for i in found[:3])
        raise UsageError(f"--show {name} names {len(found):,} images of {source} ({few}, ...): give more of the path")
    return found[0]
