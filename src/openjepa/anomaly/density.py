"""Densities: how unlikely a patch is at its place, and an image as a whole, under Gaussians of normal images."""

import torch
from torch import Tensor

from openjepa.anomaly.patches import orthogonal

WIDTH = 64  # numbers of a feature in a density; wider ones are projected
RIDGE = 1e-3  # of the mean variance, added to every variance
STRENGTH = 1.0  # times WIDTH: as many observations of the covariance all places share count for each place


class Moments:
    """Sums over normal images of what `PlaceDensity` needs of features [B, N, D]; float64."""

    def __init__(self) -> None:
        self.count = 0
        self.first = self.second = torch.zeros(0)

    def add(self, features: Tensor) -> None:
        x = narrowed(features).double().transpose(0, 1)  # [N, B, D]
        first, second = x.sum(dim=1), x.transpose(1, 2) @ x
        self.first, self.second = (self.first + first, self.second + second) if self.count else (first, second)
        self.count += len(features)


class PlaceDensity:
    """A Gaussian for each place: means [N, D] and inverse square roots [N, D, D] of covariances.

    As PaDiM (Defard et al. 2021, arXiv 2011.08785), but each covariance is drawn to the one that all places share,
    which counts as `STRENGTH` * D observations (the mean of an inverse Wishart posterior), so that few images suffice.
    """

    def __init__(self, means: Tensor, roots: Tensor) -> None:
        self.means, self.roots = means, roots

    def distances(self, features: Tensor) -> Tensor:
        """Features [B, N, D] to Mahalanobis distances [B, N]."""
        apart = narrowed(features) - self.means
        return torch.einsum("nij,bnj->bni", self.roots, apart).square().sum(dim=-1).sqrt()


def narrowed(features: Tensor) -> Tensor:
    """Features [..., D] of at most `WIDTH` numbers, by a random orthogonal projection."""
    width = features.shape[-1]
    return features @ orthogonal(width, WIDTH) if width > WIDTH else features


def place_density(moments: Moments) -> PlaceDensity:
    """The density of normal images. Of one image alone, places share the covariance of all of its patches."""
    n, (places, width) = moments.count, moments.first.shape
    means = moments.first / n
    scatter = moments.second - n * means.unsqueeze(2) * means.unsqueeze(1)
    shared = scatter.sum(dim=0) / (places * (n - 1)) if n > 1 else torch.cov(means.T)
    weight = STRENGTH * width
    covariance = (scatter + weight * shared) / (n - 1 + weight)
    ridge = RIDGE * shared.diagonal().mean().clamp_min(1e-12)
    root = torch.linalg.cholesky(covariance + ridge * torch.eye(width, dtype=torch.float64))
    inverse = torch.linalg.solve_triangular(root, torch.eye(width, dtype=torch.float64).expand_as(root), upper=False)
    return PlaceDensity(means.float(), inverse.float())


class ImageDensity:
    """A Gaussian of whole images: mean [D] and precision [D, D] of the mean patch feature."""

    def __init__(self, mean: Tensor, precision: Tensor) -> None:
        self.mean, self.precision = mean, precision

    def distances(self, features: Tensor) -> Tensor:
        """Features [B, N, D] to Mahalanobis distances [B]."""
        apart = narrowed(features).mean(dim=1) - self.mean
        return ((apart @ self.precision) * apart).sum(dim=1).clamp_min(0).sqrt()


def image_density(means: Tensor) -> ImageDensity:
    """The density of normal images by their mean patch features [n, D], of two or more.

    The covariance is that of Ledoit and Wolf (2004, Journal of Multivariate Analysis 88, 365-411).
    """
    from sklearn.covariance import LedoitWolf  # takes a second, which every run would wait for

    fitted = LedoitWolf().fit(means.double().numpy())
    precision = torch.from_numpy(fitted.get_precision()).float()
    return ImageDensity(torch.from_numpy(fitted.location_).float(), precision)
