"""How good the outputs of a fine-tuned network are: the measure that training watches, and a score for each image."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from openjepa.evaluation.finetuning.objective import Kind, Objective

LOSS_WEIGHT = 1e-7  # less than what one image of 5,000 adds to the accuracy, at any loss below 2,000


@dataclass(frozen=True)
class Scores:
    """The measure by which the best step is chosen, and the loss.

    metric  accuracy; mAP, the mean over tags of their average precision; or mean_error, in units of the numbers
    merit   the larger the better: the value, or minus the error in standard deviations of the numbers; of equal
            accuracies that with the lower loss
    """

    metric: str
    value: float
    merit: float
    loss: float

    def record(self) -> dict[str, float]:
        return {f"validation_{self.metric}": self.value, "validation_loss": self.loss}

    def in_words(self) -> str:
        if self.metric == "mean_error":
            return f"validation error {self.value:.4g}"
        return f"validation {self.metric} {self.value:.1%}"


def measure(objective: Objective, outputs: Tensor, truth: np.ndarray) -> Scores:
    """Scores of outputs [n, C], numbers in their own units, float32; truth int64 [n] or float32 [n, C]."""
    answers = torch.from_numpy(truth)
    given = objective.standardised(outputs) if objective.kind is Kind.NUMBERS else outputs
    loss = float(objective.loss(given, answers)) / len(truth)
    if objective.kind is Kind.CLASS:
        value = float((outputs.argmax(1) == answers).double().mean())
        return Scores("accuracy", value, value - LOSS_WEIGHT * loss, loss)
    if objective.kind is Kind.TAGS:
        value = mean_average_precision(outputs.numpy(), truth)
        return Scores("mAP", value, value, loss)
    errors = (outputs - answers).abs().double().mean(0)
    scale = 1.0 if objective.scale is None else objective.scale.double()
    return Scores("mean_error", float(errors.mean()), -float((errors / scale).mean()), loss)


def mean_average_precision(outputs: np.ndarray, truth: np.ndarray) -> float:
    """The mean over tags with images of the precision at each image that has the tag, ranked by its output.

    outputs and truth [n, C]; 0.0 where no image has a tag. Equal outputs rank in the order of the images.
    """
    order = np.argsort(-outputs, axis=0, kind="stable")
    hits = np.take_along_axis(truth, order, axis=0).astype(float)
    precision = hits.cumsum(axis=0) / np.arange(1, len(hits) + 1)[:, None]
    positives = hits.sum(axis=0)
    each = (precision * hits).sum(axis=0)[positives > 0] / positives[positives > 0]
    return float(each.mean()) if len(each) else 0.0


def image_scores(kind: Kind, outputs: Tensor, truth: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Float64 [n]: the score of each image, and of the constant that is best on the training values `seen`.

    Whether the class is right; the fraction of tags that are right; or the mean absolute error of numbers.
    """
    if kind is Kind.CLASS:
        commonest = np.bincount(seen).argmax()
        return (outputs.argmax(1).numpy() == truth).astype(float), (truth == commonest).astype(float)
    if kind is Kind.TAGS:
        usual = seen.mean(axis=0) > 0.5
        return ((outputs.numpy() > 0) == (truth > 0)).mean(axis=1), (usual == (truth > 0)).mean(axis=1)
    typical = np.median(seen, axis=0)
    return np.abs(outputs.numpy() - truth).mean(axis=1, dtype=float), np.abs(typical - truth).mean(axis=1, dtype=float)
