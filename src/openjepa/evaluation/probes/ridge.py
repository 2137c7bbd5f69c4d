"""Ridge regression on frozen features: how well they predict quantities."""

from dataclasses import dataclass

import torch
from torch import Tensor

STRENGTHS = tuple(10.0 ** (k / 2) for k in range(-12, 5))  # of the mean eigenvalue
PART_ROWS = 65536  # turned into float64 at a time


@dataclass(frozen=True)
class Ridge:
    """weight [D, T] and bias [T], float32; for each target the penalty chosen, as a fraction of the mean eigenvalue."""

    weight: Tensor
    bias: Tensor
    strengths: tuple[float, ...]

    def predict(self, features: Tensor) -> Tensor:
        """[..., D] to [..., T]."""
        return features @ self.weight + self.bias


def ridge(x: Tensor, y: Tensor, val_x: Tensor, val_y: Tensor, device: torch.device | str = "cpu") -> Ridge:
    """Least squares with an L2 penalty, for each target the one with the least error on validation.

    x [n, D], val_x [v, D] features; y [n, T], val_y [v, T] targets; float32, x may be a memory map. One
    eigendecomposition serves all targets and penalties; `device` is where it runs, and must support float64.
    """
    if len(x) < x.shape[1]:  # the best weights lie in the span of the images: solve there
        basis = torch.linalg.qr((x - x.mean(0)).T).Q
        inside = ridge(x @ basis, y, val_x @ basis, val_y, device)
        return Ridge(basis @ inside.weight, inside.bias, inside.strengths)
    xx, xy, mean_x, mean_y = _moments(x, y, device)
    values, vectors = torch.linalg.eigh(xx)
    values, rotated = values.clamp(min=0)[:, None], vectors.T @ xy
    penalties = xx.new_tensor(STRENGTHS) * values.mean().clamp(min=1e-30)
    projected, truth = (val_x.to(mean_x) - mean_x) @ vectors, val_y.to(mean_y) - mean_y
    errors = torch.stack([(projected @ (rotated / (values + p)) - truth).square().mean(0) for p in penalties])
    best = errors.argmin(0)
    weight = vectors @ (rotated / (values + penalties[best]))
    bias = mean_y - mean_x @ weight
    return Ridge(weight.float().cpu(), bias.float().cpu(), tuple(STRENGTHS[k] for k in best))


def _moments(x: Tensor, y: Tensor, device: torch.device | str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Covariances [D, D] and [D, T], and the means [D] and [T], float64."""
    parts = list(zip(x.split(PART_ROWS), y.split(PART_ROWS), strict=True))
    mean_x, mean_y = (sum(part[k].to(device, torch.float64).sum(0) for part in parts) / len(x) for k in (0, 1))
    xx, xy = (torch.zeros(x.shape[1], other.shape[1], device=device, dtype=torch.float64) for other in (x, y))
    for features, targets in parts:
        centred = features.to(device, torch.float64) - mean_x
        xx += centred.T @ centred / len(x)
        xy += centred.T @ (targets.to(device, torch.float64) - mean_y) / len(x)
    return xx, xy, mean_x, mean_y
