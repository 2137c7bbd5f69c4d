"""Embeddings whitened in part, so that the directions in which all images differ most do not decide the cosine."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from openjepa.rng import SAMPLES, generator

POWER = 0.5  # of 1 that is whitening in full, and of 0 that is centring
LEAST_IMAGES, MOST_FITTED = 100, 5_000
MOST_NUMBERS = 1536  # of an embedding; the covariance grows with the square, its eigenvectors with the cube
LEAST_VARIANCE = 1e-6  # of a direction, relative to the mean over all


@dataclass(frozen=True)
class Whitening:
    """x to (x - mean) C^(-1/4), C being the covariance of the embeddings [n, D] that it was fitted to.

    It is halfway between centring and whitening: "attenuated whitening" (Mukundan et al. 2018, arXiv 1811.11147) with
    the exponent t = 0.5. C is the estimate of Ledoit and Wolf (2004), which few images suffice for.

    mean [D] and matrix [D, D], float32.
    """

    mean: Tensor
    matrix: Tensor

    def __call__(self, embeddings: Tensor) -> Tensor:
        """Embeddings [n, D] float32 to the same shape and dtype."""
        return (embeddings - self.mean) @ self.matrix

    @classmethod
    def fit(cls, embeddings: Tensor) -> Self | None:
        """From embeddings [n, D] of images; of more than 5,000, from as many of them at random, always the same.

        Rows that are not finite are left out. None where it cannot be told or would cost too much: for fewer than 100
        rows, for D over 1,536, and for rows that are all equal.
        """
        if not fits(*embeddings.shape):
            return None
        rows = embeddings[torch.from_numpy(chosen(len(embeddings)))].double()
        rows = rows[rows.isfinite().all(dim=1)]
        if len(rows) < LEAST_IMAGES:
            return None
        mean = rows.mean(dim=0)
        variances, directions = torch.linalg.eigh(shrunk_covariance(rows - mean))
        scale = float(variances.mean())
        if not 0 < scale < float("inf"):
            return None
        gains = variances.clamp(min=LEAST_VARIANCE * scale).pow(-POWER / 2)
        return cls(mean.float(), (directions * gains @ directions.T).float())


def shrunk_covariance(rows: Tensor) -> Tensor:
    """The covariance [D, D] of rows [n, D] of mean 0, shrunk towards a multiple of the identity.

    Ledoit and Wolf 2004, "A well-conditioned estimator for large-dimensional covariance matrices", section 3.3.
    """
    count, numbers = rows.shape
    sample = rows.T @ rows / count
    scale, squares = sample.trace() / numbers, sample.square().sum()
    away = squares - numbers * scale**2
    noise = (rows.square().sum(dim=1).square().mean() - squares) / count
    weight = float((noise / away).clamp(0, 1)) if away > 0 else 1.0
    return (1 - weight) * sample + weight * scale * torch.eye(numbers, dtype=rows.dtype)


def fits(count: int, numbers: int) -> bool:
    """Whether so many embeddings of so many numbers can be whitened."""
    return count >= LEAST_IMAGES and numbers <= MOST_NUMBERS


def chosen(count: int) -> np.ndarray:
    """The indices, sorted, of the embeddings that it is fitted to."""
    return np.sort(generator(0, SAMPLES).permutation(count)[:MOST_FITTED])
