"""Search by image: are the most similar images of the same class?"""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from openjepa.evaluation.checks import require_finite

HELD_ELEMENTS = 2**22


def retrieve(
    gallery_x: Tensor, gallery_y: Tensor, query_x: Tensor, query_y: Tensor, ks: tuple[int, ...] = (1, 10)
) -> tuple[dict[int, Tensor], Tensor]:
    """For each query [m]: whether any of its k nearest gallery images is of its class, by k; and average precision.

    Nearness is the cosine. Average precision is the mean, over the gallery images of the query's class, of the share of
    that class among the images as near or nearer (Manning et al. 2008, Introduction to Information Retrieval, 8.4); 0
    for a class that the gallery lacks. gallery_x [n, D], query_x [m, D] float32; labels int64.
    """
    require_finite(gallery_x, query_x)
    bank = normalize(gallery_x).T
    hits: dict[int, list[Tensor]] = {k: [] for k in ks}
    precisions = []
    size = max(1, HELD_ELEMENTS // len(gallery_x))
    for x, y in zip(normalize(query_x).split(size), query_y.split(size), strict=True):
        order = (x @ bank).argsort(dim=1, descending=True, stable=True)
        relevant = gallery_y[order] == y[:, None]
        for k in ks:
            hits[k].append(relevant[:, :k].any(1))
        precisions.append(average_precision(relevant))
    return {k: torch.cat(parts) for k, parts in hits.items()}, torch.cat(precisions)


def average_precision(relevant: Tensor) -> Tensor:
    """[m] float32 from relevance [m, n] bool, nearest first."""
    found = relevant.cumsum(1)
    share = found / torch.arange(1, relevant.shape[1] + 1)
    return (share * relevant).sum(1) / found[:, -1].clamp(min=1)
