"""The line between two sets of weights: whether the networks on it still give what both members give.

Where the weights of two networks lie in one basin, the features of a network between them are, up to a factor, those
that lie between theirs (Zhou et al. 2023, arXiv 2307.08286). So the loss of a network on the line is the part of the
variance of these features that its own, times the best factor, lack: 0 at both ends. It needs no labels and no
predictor, is defined for every encoder, and its targets are given by the members. The loss of I-JEPA would not do: its
targets are those of the network itself. A linear regression on the features would not do either: it makes up for
nearly all that is lost (docs/development/lab-log.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from openjepa.encoder.encoder import Encoder
from openjepa.errors import UsageError
from openjepa.interop.ensembles.member import Member
from openjepa.models.vit import VisionTransformer
from openjepa.studies.ensemble.soup import averaged

POINTS = (0.25, 0.5, 0.75)
LEAST, MOST = 50, 1000  # images
LIMIT = 0.2  # the largest barrier of weights that are averaged


@dataclass(frozen=True)
class Line:
    """The losses at POINTS of the line between two members by their names, each a fraction from 0 to 1."""

    names: tuple[str, str]
    losses: tuple[float, ...]

    @property
    def barrier(self) -> float:
        """The largest loss; at both ends it is 0."""
        return torch.tensor(self.losses).max().item()  # NaN where one is

    def __str__(self) -> str:
        losses = ", ".join(f"{loss:.3f}" for loss in self.losses)
        return f"between {self.names[0]} and {self.names[1]}: losses {losses}, barrier {self.barrier:.3f}"

    def check(self) -> None:
        """Raise UsageError for a barrier that says that both are from different starts."""
        if not self.barrier <= LIMIT:
            raise UsageError(
                f"{self.names[0]} and {self.names[1]} cannot be averaged: networks between their weights lack "
                f"{self.barrier:.0%} of the features between theirs, a barrier of {self.barrier:.2f} (at most "
                f"{LIMIT:g}), so they do not come from one start: give --how concat"
            )


def lines_between(members: Sequence[Member], images: Tensor, device: torch.device, dtype: torch.dtype) -> list[Line]:
    """The line between every two members, on preprocessed images [n, C, H, W]."""
    first = members[0].plain
    how = device, dtype, first.pixel_format, first.max_stretch

    def features(network: VisionTransformer) -> Tensor:
        return Encoder(network, first.mean, first.std, "encoder", *how).features(images)

    ends = [features(member.vit) for member in members]
    lines = []
    for a, b in combinations(range(len(members)), 2):
        between = ((at, averaged([members[a].vit, members[b].vit], [1 - at, at])) for at in POINTS)
        losses = [lost(features(network), (1 - at) * ends[a] + at * ends[b]) for at, network in between]
        lines.append(Line((members[a].name, members[b].name), tuple(losses)))
    return lines


def lost(features: Tensor, wanted: Tensor) -> float:
    """The part of the variance of `wanted` [n, D] that the features [n, D], times the best factor, lack."""
    mine, theirs = ((rows.double() - rows.double().mean(dim=0)).flatten() for rows in (features, wanted))
    lengths = (mine.norm() * theirs.norm()).clamp(min=1e-30)
    return float(1 - ((mine @ theirs) / lengths).clamp(min=0).square())
