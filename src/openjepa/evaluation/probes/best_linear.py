"""The paper's linear evaluation: last layer or last four, with and without batch norm, the best on validation."""

from collections.abc import Callable, Iterator
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

    @property
    def last_layer(self) -> "Features":
        """These without those of the last four layers."""
        return Features(self.last)

    def rows(self, chosen: Tensor) -> "Features":
        """Those of some images, by a mask [n] bool or numbers; themselves where that is all."""
        if chosen.dtype == torch.bool and chosen.all():
            return self
        return Features(self.last[chosen], None if self.layers is None else self.layers[chosen])

    def by_layers(self) -> Iterator[tuple[str, Tensor]]:
        yield "last", self.last
        if self.layers is not None:
            yield "last 4", self.layers


@dataclass(frozen=True)
class Choice:
    """The probe that was best on validation, and the features that it reads; `rows` were fitted and chosen on."""

    probe: LinearProbe
    layers: str
    batch_norm: bool
    rows: tuple[int, int]

    def predict(self, features: Features) -> Tensor:
        return self.probe.predict(dict(features.by_layers())[self.layers])

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


@dataclass(frozen=True)
class Probes:
    """Which linear probes are tried.

    layers       also the last four layers side by side, where the model has layers
    batch_norms  with batch norm, without, or both
    split        (n, seed) to the rows that probes are fitted on and those that they are chosen on
    """

    layers: bool = True
    batch_norms: tuple[bool, ...] = (True, False)
    split: Callable[[int, int], tuple[Tensor, Tensor]] = validation_split


ALL_PROBES = Probes()
ONE_PROBE = Probes(layers=False, batch_norms=(True,))  # of the last layer, with batch norm: a quarter of the time


def best_linear(
    train: Features,
    labels: Tensor,
    test: Features,
    seed: int,
    device: torch.device | str = "cpu",
    probes: Probes = ALL_PROBES,
) -> Choice:
    """The best of up to four linear probes: by validation accuracy, within a standard error by cross-entropy."""
    fit, validation = probes.split(len(labels), seed)
    tests, tried = dict(test.by_layers()), []
    for name, x in train.by_layers():
        for batch_norm in probes.batch_norms:
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
