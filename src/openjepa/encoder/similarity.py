"""How similar two embeddings are among all pairs of a collection."""

import math

import torch
from torch import Tensor

ROUNDING = 1e-6  # of cosines


def in_words(cosine: float, below: float) -> str:
    """A cosine, and the fraction of pairs that are less similar, rounded down."""
    return f"{cosine:z.3f} · {math.floor(1000 * below) / 10:.1f} %"


def fraction_below(embeddings: Tensor, cosines: Tensor) -> Tensor:
    """The fraction of all pairs of different embeddings [n, D] whose cosine is below each of `cosines`, any shape."""
    pairs = pair_cosines(embeddings)
    return torch.searchsorted(pairs, cosines.contiguous() - ROUNDING) / max(1, len(pairs))


def pair_cosines(embeddings: Tensor) -> Tensor:
    """The cosines of all n * (n - 1) / 2 pairs of different embeddings [n, D], sorted."""
    unit = torch.nn.functional.normalize(embeddings.float(), dim=1)
    return (unit @ unit.T)[*torch.triu_indices(len(unit), len(unit), 1)].sort().values
