"""What an encoder with a head learns: one class of each image, any number of classes, or numbers."""

import enum
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn


class Kind(enum.StrEnum):
    CLASS = "class"
    TAGS = "tags"
    NUMBERS = "numbers"


@dataclass(frozen=True)
class Objective:
    """The loss of outputs [B, C] and, where these are numbers, the units of the outputs.

    kind       CLASS: cross-entropy of C classes; TAGS: binary cross-entropy of each of C; NUMBERS: squared error
    outputs    C
    smoothing  label smoothing: part of the answer that is spread evenly, in [0, 1)
    weights    float32 [C]: of the images of each class, or of the images that have a tag; None for all alike
    shift, scale  float32 [C]: the mean and standard deviation of numbers, by which targets are standardised
    """

    kind: Kind
    outputs: int
    smoothing: float = 0.0
    weights: Tensor | None = None
    shift: Tensor | None = None
    scale: Tensor | None = None

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The sum over the images. targets: int64 [B] for CLASS, else float32 [B, C], numbers in their own units."""
        weights = None if self.weights is None else self.weights.to(outputs.device)
        if self.kind is Kind.CLASS:
            return nn.functional.cross_entropy(
                outputs, targets, weights, label_smoothing=self.smoothing, reduction="sum"
            )
        if self.kind is Kind.TAGS:
            soft = targets * (1 - self.smoothing) + self.smoothing / 2
            each = nn.functional.binary_cross_entropy_with_logits(outputs, soft, pos_weight=weights, reduction="sum")
            return each / self.outputs
        return (outputs - self.standardised(targets)).square().sum() / self.outputs

    def standardised(self, numbers: Tensor) -> Tensor:
        if self.shift is None or self.scale is None:
            return numbers
        return (numbers - self.shift.to(numbers.device)) / self.scale.to(numbers.device)

    def head(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """The weight [C, D] and bias [C] of a head whose outputs are in the units of the targets."""
        if self.shift is None or self.scale is None:
            return weight, bias
        scale = self.scale.to(weight.device)
        return weight * scale[:, None], bias * scale + self.shift.to(weight.device)


def balanced_weights(kind: Kind, targets: np.ndarray, outputs: int) -> Tensor:
    """Weights [C] float32 by which every class counts alike: n / (C * images of the class); for tags without / with.

    A class without images has weight 1. targets: int64 [n], or of tags [n, C] of 0 and 1.
    """
    if kind is Kind.CLASS:
        counts = np.bincount(targets, minlength=outputs)
        weights = len(targets) / (np.count_nonzero(counts) * np.maximum(counts, 1))
        return torch.tensor(np.where(counts, weights, 1), dtype=torch.float32)
    have = targets.sum(axis=0)
    return torch.tensor(np.where(have, (len(targets) - have) / np.maximum(have, 1), 1), dtype=torch.float32)


def units_of(numbers: np.ndarray) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation [C] float32 of numbers [n, C]; the latter 1 where all are the same."""
    scale = numbers.std(axis=0)
    shift = torch.tensor(numbers.mean(axis=0), dtype=torch.float32)
    return shift, torch.tensor(np.where(scale > 0, scale, 1), dtype=torch.float32)
