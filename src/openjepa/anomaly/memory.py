"""Memories: how far each patch, or each cell of its pixels, is from the nearest one of normal images.

As PatchCore (Roth et al., CVPR 2022, arXiv 2106.08265) and AnomalyDINO (Damm et al., WACV 2025, arXiv 2405.14529) do:
features are compared by direction, and of many patches a subset is kept.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from openjepa.anomaly.patches import orthogonal

PATCHES = 8192  # kept in a memory by default
CANDIDATES = 4  # times as many are held while it is filled
AT_ONCE = 2**24  # distances computed at a time
SKETCH = 64  # numbers that stand for a feature while a subset is chosen
COMPONENTS = 16  # numbers that stand for the pixels of a cell
FLAT = 1e-4  # of the largest variance of a component of pixels, the least that others are scaled by


class Reservoir:
    """A uniform sample of at most `most` of the patches of any number of images, and the images that they are from.

    Vitter's algorithm R (ACM Transactions on Mathematical Software 11, 1985), a batch at a time.
    """

    def __init__(self, most: int, seed: int = 0) -> None:
        self.most, self.seen = most, 0
        self.rng = np.random.default_rng(seed % 2**64)
        self.features = torch.empty(0)
        self.owners = torch.empty(0, dtype=torch.int64)

    def add(self, features: Tensor, owners: Tensor) -> None:
        """Patches [n, D] of the images `owners` [n]."""
        room = max(0, self.most - len(self.owners)) if self.seen else self.most
        first = features[:room]
        self.features = torch.cat([self.features, first]) if self.seen else first.clone()
        self.owners = torch.cat([self.owners, owners[:room]])
        rest = np.arange(len(first), len(features))
        places = self.rng.integers(0, self.seen + rest + 1)
        kept = rest[places < self.most]
        self.features[places[places < self.most]] = features[kept]
        self.owners[places[places < self.most]] = owners[kept]
        self.seen += len(features)


class PatchMemory:
    """Features [M, D] of length 1, and the numbers [M] of the normal images that they are from."""

    def __init__(self, features: Tensor, owners: Tensor) -> None:
        self.features, self.owners = features, owners

    @torch.inference_mode()
    def distances(self, features: Tensor, without: Tensor | None = None) -> Tensor:
        """Features [B, N, D] to cosine distances [B, N] in [0, 2] from the nearest patch in the memory.

        `without` [B] are images whose own patches do not count.
        """
        rows = F.normalize(features, dim=-1).flatten(0, 1)
        owners = None if without is None else without.repeat_interleave(features.shape[1])
        found = []
        for start in range(0, len(rows), max(1, AT_ONCE // len(self.features))):
            stop = start + max(1, AT_ONCE // len(self.features))
            alike = rows[start:stop] @ self.features.T
            if owners is not None:
                alike[owners[start:stop, None] == self.owners] = -1
            found.append(1 - alike.amax(dim=1))
        return torch.cat(found).clamp_min(0).view(features.shape[:2])


def make_memory(features: Tensor, owners: Tensor, most: int = PATCHES, coreset: str = "greedy") -> PatchMemory:
    """The memory of features [n, D] of normal images `owners` [n], of which at most `most` are kept."""
    features = F.normalize(features, dim=-1)
    chosen = CORESETS[coreset](features, min(most, len(features)))
    return PatchMemory(features[chosen].contiguous(), owners[chosen].contiguous())


class CellMemory:
    """Cells of pixels of normal images: `features` [M, d], from pixels by their `mean` [W] and `axes` [W, d]."""

    def __init__(self, mean: Tensor, axes: Tensor, features: Tensor) -> None:
        self.mean, self.axes, self.features = mean, axes, features

    @torch.inference_mode()
    def distances(self, cells: Tensor) -> Tensor:
        """Cells [B, N, K, W] to the Euclidean distance [B, N] of the oddest cell of a patch from the nearest one."""
        rows = ((cells - self.mean) @ self.axes).flatten(0, 2)
        parts = rows.split(max(1, AT_ONCE // len(self.features)))
        found = torch.cat([torch.cdist(part, self.features).amin(dim=1) for part in parts])
        return found.view(cells.shape[:3]).amax(dim=2)


def make_cell_memory(cells: Tensor, most: int = PATCHES // 2, coreset: str = "greedy") -> CellMemory:
    """The memory of cells of pixels [n, W] of normal images, of which at most `most` are kept.

    Of their principal components the `COMPONENTS` largest are kept, each divided by the root of its standard
    deviation: fine detail, which varies less than brightness does, then counts more.
    """
    mean = cells.mean(dim=0)
    centred = (cells - mean).double()
    variances, axes = torch.linalg.eigh(centred.T @ centred / len(cells))
    variances, axes = variances.flip(0)[:COMPONENTS], axes.flip(1)[:, :COMPONENTS]
    scales = variances.clamp_min(FLAT * variances[0].clamp_min(1e-8)) ** 0.25
    axes = (axes / scales).float().contiguous()
    features = (cells - mean) @ axes
    return CellMemory(mean, axes, features[CORESETS[coreset](features, min(most, len(features)))].contiguous())


def random_subset(features: Tensor, count: int) -> Tensor:
    """Numbers [count] of features [n, D], drawn without replacement."""
    return torch.randperm(len(features), generator=torch.Generator().manual_seed(0))[:count]


@torch.inference_mode()
def greedy_subset(features: Tensor, count: int) -> Tensor:
    """Numbers [count] of features [n, D]: each is the farthest from those before (Gonzalez 1985), the first is drawn.

    Distances are those of random projections, as in PatchCore.
    """
    if count == len(features):
        return torch.arange(count)
    width = features.shape[1]
    sketch = features @ orthogonal(width, SKETCH) if width > SKETCH else features
    lengths = sketch.square().sum(dim=1)
    nearest = torch.full((len(sketch),), float("inf"))
    chosen = torch.empty(count, dtype=torch.int64)
    place = int(random_subset(features, 1))
    for number in range(count):
        chosen[number] = place
        distances = torch.addmv(lengths + lengths[place], sketch, sketch[place], alpha=-2)
        torch.minimum(nearest, distances, out=nearest)
        nearest[place] = -1
        place = int(nearest.argmax())
    return chosen


CORESETS = {"greedy": greedy_subset, "random": random_subset}
