"""Ridge regression on frozen features: how well a quantity, not a class, can be read from them."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

STRENGTHS = tuple(10.0 ** (k / 2) for k in range(-12, 5))  # of the mean eigenvalue


@dataclass(frozen=True)
class Ridge:
    """weight [D, T] and bias [T], float32; `strength` is the penalty chosen, as a share of the mean eigenvalue."""

    weight: Tensor
    bias: Tensor
    strength: float

    def predict(self, features: Tensor) -> Tensor:
        """[..., D] to [..., T]."""
        return features @ self.weight + self.bias


class Moments:
    """What least squares needs of any number of rows, added up part by part in float64."""

    def __init__(self, parts: Iterable[tuple[Tensor, Tensor]]) -> None:
        """parts: features [b, D] and targets [b, T]."""
        self.n, self.xx, self.xy = 0, 0, 0
        for x, y in parts:
            x = torch.cat([x.double(), torch.ones(len(x), 1, dtype=torch.float64)], 1)
            y = torch.cat([y.double(), torch.ones(len(y), 1, dtype=torch.float64)], 1)
            self.n, self.xx, self.xy = self.n + len(x), self.xx + x.T @ x, self.xy + x.T @ y

    def centred(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Covariances [D, D] and [D, T], and the means [D] and [T]."""
        mean_x, mean_y = self.xx[-1, :-1] / self.n, self.xy[-1, :-1] / self.n
        xx = self.xx[:-1, :-1] / self.n - torch.outer(mean_x, mean_x)
        return xx, self.xy[:-1, :-1] / self.n - torch.outer(mean_x, mean_y), mean_x, mean_y


def ridge(train: Iterable[tuple[Tensor, Tensor]], validation: tuple[Tensor, Tensor]) -> Ridge:
    """Least squares with the L2 penalty that errs least on validation, over all targets in units of their deviation.

    train: parts of features [b, D] and targets [b, T]; validation: features [v, D] and targets [v, T]; float32.
    """
    xx, xy, mean_x, mean_y = Moments(train).centred()
    values, vectors = torch.linalg.eigh(xx)
    values, rotated = values.clamp(min=0), vectors.T @ xy
    scale = values.mean().clamp(min=1e-30)
    x, y = validation[0].double() - mean_x, validation[1].double() - mean_y
    spread, projected, errors = y.square().mean(0).clamp(min=1e-30), x @ vectors, []
    for strength in STRENGTHS:
        guess = projected @ (rotated / (values + strength * scale)[:, None])
        errors.append(((guess - y).square().mean(0) / spread).mean())
    strength = STRENGTHS[int(torch.stack(errors).argmin())]
    weight = vectors @ (rotated / (values + strength * scale)[:, None])
    return Ridge(weight.float(), (mean_y - mean_x @ weight).float(), strength)
