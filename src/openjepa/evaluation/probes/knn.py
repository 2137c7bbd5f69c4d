"""k-nearest-neighbour classification of frozen features: nothing is trained, so it measures the features alone."""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from openjepa.evaluation.probes.logistic import require_finite

HELD_ELEMENTS = 2**22  # similarities held at a time: 16 MiB


def knn_predict(
    train_x: Tensor,
    train_y: Tensor,
    test_x: Tensor,
    k: int = 20,
    temperature: float = 0.07,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Labels [m] int64 by a vote of the k most similar training images (of all of them where n < k).

    Similarity is the cosine; each vote weighs exp(similarity / temperature), temperature > 0 (Wu et al. 2018,
    arXiv 1805.01978, section 3.4; k = 20 and 0.07 are DINO's). Of equal votes the smallest label wins.

    train_x [n, D], test_x [m, D] float32; train_y [n] int64; n > 0. Raises UsageError when features are not finite.
    """
    require_finite(train_x, test_x)
    classes, targets = train_y.unique(return_inverse=True)
    bank, targets = normalize(train_x).T.to(device), targets.to(device)
    parts = test_x.split(max(1, HELD_ELEMENTS // len(train_x)))
    votes = (_votes(normalize(part).to(device) @ bank, targets, len(classes), k, temperature) for part in parts)
    return classes[torch.cat([vote.argmax(1).cpu() for vote in votes])]


def _votes(similarity: Tensor, targets: Tensor, classes: int, k: int, temperature: float) -> Tensor:
    """Summed weights [b, C] for similarities [b, n]."""
    nearest, index = similarity.topk(min(k, len(targets)), dim=1)
    # relative to the nearest, so that a small temperature cannot overflow
    weights = ((nearest - nearest[:, :1]) / temperature).exp()
    return similarity.new_zeros(len(similarity), classes).scatter_add_(1, targets[index], weights)
