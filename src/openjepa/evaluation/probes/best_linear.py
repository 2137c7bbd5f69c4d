"""The paper's linear evaluation: last layer or last four, with and without batch norm, the best on validation."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from openjepa.device import where_exact
from openjepa.evaluation.probes.logistic import LinearProbe, linear_probe
from openjepa.evaluation.probes.streamed import streamed_probe
from openjepa.rng import SAMPLES, generator

VALIDATION = 0.1
MEMORY = 6 * 2**30  # bytes that a probe may hold before it streams


@dataclass(frozen=True)
class Features:
    """Features [n, D] of a set of images and, where the model has layers, those of its last four [n, 4 * D]."""

    last: Tensor
    layers: Tensor | None = None

    def choices(self) -> Iterator[tuple[str, Tensor]]:
        yield "last", self.last
        if self.layers is not None:
            yield "last 4", self.layers


@dataclass(frozen=True)
class Choice:
    """The probe that was best on validation, and on what it stands."""

    probe: LinearProbe
    layers: str
    batch_norm: bool
    rows: tuple[int, int]

    def predict(self, features: Features) -> Tensor:
        return self.probe.predict(dict(features.choices())[self.layers])

    def protocol(self) -> dict:
        return {
            "probe": "softmax regression by SGD, streamed" if "epochs" in self.probe.setting else "softmax regression",
            "layers": self.layers,
            "batch_norm": self.batch_norm,
            "chosen_on": f"{VALIDATION:.0%} of train",
            "validation_accuracy": self.probe.val_accuracy,
            "fitted_on": self.rows[0],
            **self.probe.setting,
        }


def validation_split(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Rows to fit on and a tenth to choose on, the same for n and seed."""
    order = torch.from_numpy(generator(seed, SAMPLES).permutation(n))
    validation, fit = order.tensor_split([max(1, round(VALIDATION * n))])
    return fit, validation


def best_linear(
    train: Features,
    labels: Tensor,
    test: Features,
    seed: int,
    device: torch.device | str = "cpu",
    batch_norms: tuple[bool, ...] = (True, False),
) -> Choice:
    """The best of up to four linear probes: by validation accuracy, within a standard error by cross-entropy."""
    fit, validation = validation_split(len(labels), seed)
    tests, tried = dict(test.choices()), []
    for name, x in train.choices():
        for batch_norm in batch_norms:
            probe = _probe(x, labels, fit, validation, tests[name], seed, batch_norm, device)
            tried.append(Choice(probe, name, batch_norm, (len(fit), len(validation))))
    top = max(choice.probe.val_accuracy for choice in tried)
    near = top - (top * (1 - top) / len(validation)) ** 0.5
    return min((c for c in tried if c.probe.val_accuracy >= near), key=lambda choice: choice.probe.val_loss)


def _probe(x, labels, fit, validation, test_x, seed: int, batch_norm: bool, device) -> LinearProbe:
    if held_bytes(len(fit), x.shape[1], len(labels.unique())) > MEMORY:
        return streamed_probe(x, labels, fit, validation, test_x, seed, batch_norm, device)
    parts = x[fit], labels[fit], x[validation], labels[validation]
    return linear_probe(*parts, test_x, seed, batch_norm, device=where_exact(device))


def held_bytes(n: int, dims: int, classes: int) -> int:
    """What `linear_probe` holds of n images: the features twice, and two sets of logits of at least one head."""
    return 4 * n * (2 * dims + 2 * classes)
