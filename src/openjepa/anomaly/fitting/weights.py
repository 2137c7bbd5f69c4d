"""What each score counts: as well as it tells defects that are planted in normal images from these images."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from openjepa.anomaly.fitting.planted import planted
from openjepa.anomaly.scorer import Score

DRAWS = 3  # defects, one at a time, that are planted in each image
MOST = 64  # normal images that they are planted in


class WithDefects:
    """Preprocessed images [B, C, H, W] to what `read` makes of them and of `DRAWS` copies with defects, side by side.

    [B, 1 + DRAWS, ...]; the defects differ from batch to batch.
    """

    def __init__(self, read: Callable[[Tensor], Tensor], seed: int) -> None:
        self.read, self.seed, self.batches = read, seed, 0

    def __call__(self, images: Tensor) -> Tensor:
        first = self.seed + self.batches * DRAWS
        self.batches += 1
        return torch.stack(
            [self.read(images), *(self.read(planted(images, first + draw)) for draw in range(DRAWS))], dim=1
        )


def aurocs(normal: dict[str, Score], odd: Sequence[dict[str, Score]]) -> dict[str, float]:
    """The AUROC in [0, 1] of each score among the same images without and with defects."""
    return {name: _auroc(score.images, [each[name].images for each in odd]) for name, score in normal.items()}


def _auroc(normal: Tensor, odd: Sequence[Tensor]) -> float:
    scores = torch.cat([normal, *odd]).nan_to_num().numpy()
    return float(roc_auc_score(np.arange(len(scores)) >= len(normal), scores))
