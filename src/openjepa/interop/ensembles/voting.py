"""Heads that vote: the mean of their probabilities, or of the numbers that they tell."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from openjepa.encoder.encoder import Encoder
from openjepa.encoder.joined import facts_of
from openjepa.errors import UsageError
from openjepa.interop.classifier import Classifier, Problem
from openjepa.interop.head_tests import HeadTest


class Voting(nn.Module):
    """Heads that see the same images, as one network: the mean of what they say is its only patch token [B, 1, K].

    Images [B, C, H, W] are not standardised: each encoder does so by its own mean and std.
    """

    def __init__(self, heads: Sequence[Classifier]) -> None:
        super().__init__()
        first = heads[0]
        self.encoders = nn.ModuleList(head.encoder for head in heads)
        self.members = [head.encoder for head in heads]
        self.problem, self.classes = first.problem, first.classes
        self.image_size, self.in_chans = first.encoder.image_size, first.encoder.network.in_chans
        self.grid_size, self.patch_size, self.embed_dim = (1, 1), self.image_size[0], len(self.classes)
        for number, head in enumerate(heads):
            order = torch.tensor([head.classes.index(name) for name in self.classes])
            self.register_buffer(f"weight_{number}", head.weight[order])
            self.register_buffer(f"bias_{number}", head.bias[order])
            statistics = torch.tensor([head.encoder.mean, head.encoder.std])
            self.register_buffer(f"reads_{number}", statistics[..., None, None])  # [2, C, 1, 1]
        self.requires_grad_(False)

    def forward(self, images: Tensor, ids: Tensor | None = None) -> Tensor:
        """Images [B, C, H, W] to the mean of what the heads say [B, 1, K] float32. ValueError for a part of patches."""
        if ids is not None:
            raise ValueError("an ensemble reads whole images")
        said = [self._said(number, images) for number in range(len(self.members))]
        return torch.stack(said).mean(dim=0)[:, None]

    def _said(self, number: int, images: Tensor) -> Tensor:
        """The probabilities, or numbers, of one head: [B, K]."""
        mean, std = self.get_buffer(f"reads_{number}")
        embedding = self.members[number].embedding((images - mean) / std).float()
        weight, bias = (self.get_buffer(f"{name}_{number}").float() for name in ("weight", "bias"))
        said = embedding @ weight.T + bias
        if self.problem is Problem.QUANTITIES:
            return said
        return said.sigmoid() if self.problem is Problem.TAGS else said.softmax(dim=1)

    def extra_repr(self) -> str:
        """What decides the outputs beside the tensors, for hashes."""
        networks = [member.network for member in self.members]
        return f"{self.problem}, {self.classes}, {[facts_of(network) for network in networks]}"


class AveragedHeads(Classifier):
    """The head of an ensemble: what it says is the mean of what its members say."""

    def __init__(self, encoder: Encoder, heads: Sequence[Classifier], name: str, test: tuple[HeadTest, ...]) -> None:
        size = len(heads[0].classes)
        known = np.unique(np.concatenate([head.trained_on for head in heads]))
        how: Any = heads[0].problem, known, test
        super().__init__(encoder, torch.eye(size), torch.zeros(size), heads[0].classes, name, *how)

    def features(self, images: Tensor) -> Tensor:
        """Preprocessed images to mean probabilities, or numbers, [B, K] float32."""
        return self.encoder.features(images)


def check_same_answers(heads: Sequence[Classifier]) -> None:
    """Raise UsageError unless all heads tell the same classes, tags or numbers."""
    first = heads[0]
    for other in heads[1:]:
        if other.problem is not first.problem or set(other.classes) != set(first.classes):
            raise UsageError(
                f"{first.name} and {other.name} cannot vote together: they tell {_words(first)} and {_words(other)}"
            )


def _words(head: Classifier) -> str:
    kind = {Problem.CLASSES: "classes", Problem.TAGS: "tags", Problem.QUANTITIES: "numbers"}[head.problem]
    named = ", ".join(head.classes[:3]) + ", ..." * (len(head.classes) > 3)
    return f"{len(head.classes)} {kind} ({named})"
