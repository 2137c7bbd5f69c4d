"""The images most similar to some, with how similar that is among all pairs of images."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from openjepa.console import counting
from openjepa.data.crops import Frame
from openjepa.data.dataset import ImageDataset
from openjepa.encoder.encoder import Encoder
from openjepa.encoder.features import compute_features
from openjepa.encoder.similarity import fraction_below, in_words
from openjepa.errors import UsageError
from openjepa.reports.drawing import TILE, Tile, tile_of

QUERIES, NEIGHBOURS = 6, 6


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


def nearest(embeddings: Tensor, queries: Sequence[int], k: int) -> tuple[Tensor, Tensor]:
    """The k images most similar to each query, best first, and their cosine similarities: two tensors [q, k].

    embeddings [n, D]; queries: q indices of them, which are never their own neighbours; k < n.
    """
    unit = torch.nn.functional.normalize(embeddings.float(), dim=1)
    cosines = unit[list(queries)] @ unit.T
    cosines[torch.arange(len(cosines)), list(queries)] = -torch.inf
    best = cosines.argsort(dim=1, descending=True, stable=True)[:, :k]
    return best, cosines.gather(1, best)
