"""The linear probe for features that do not fit in memory: mini-batches from a memory map, on any device."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from openjepa.evaluation.probes.logistic import LinearProbe, unstandardised

RATES = (0.01, 0.03, 0.1, 0.3, 1.0)
PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2)
EPOCHS, BATCH, MOMENTUM = 20, 4096, 0.9
PASS_ROWS = 8192


def streamed_probe(
    x: Tensor,
    y: Tensor,
    fit: Tensor,
    validation: Tensor,
    test_x: Tensor,
    seed: int = 0,
    batch_norm: bool = True,
    device: torch.device | str = "cpu",
    epochs: int = EPOCHS,
) -> LinearProbe:
    """Softmax regression by SGD with momentum 0.9 and a cosine: five learning rates side by side, then four penalties.

    x [n, D] may be a memory map: held at a time are a batch of 4,096 rows and the heads. `fit` and `validation` are
    rows of x; the head most accurate on validation is kept, of equals the one with the lowest cross-entropy. Penalties
    are tried at the best rate without one, as l2 / 2 * |weights|^2 beside the mean cross-entropy. As the paper's probe
    (appendix A.2), which takes 50 epochs of 16,384 images, a step decay and no choice of rate.
    """
    classes, targets = y.unique(return_inverse=True)
    mean, std = _scales(x, fit, batch_norm)
    scales = mean.to(device), std.to(device)

    def attempt(settings: list[tuple[float, float]]) -> list[tuple]:
        heads = _descend(x, targets, fit, scales, len(classes), epochs, seed, settings)
        return list(zip(*_judge(heads, x, targets, validation, scales), settings, *heads, strict=True))

    def worse(tried: tuple) -> tuple[float, float]:
        return -tried[0], tried[1]

    tried = attempt([(rate, 0.0) for rate in RATES])
    rate = min(tried, key=worse)[2][0]
    tried += attempt([(rate, penalty) for penalty in PENALTIES])
    accuracy, loss, (rate, penalty), *head = min(tried, key=worse)
    weight, bias = unstandardised(head[0].cpu(), head[1].cpu(), mean, std)
    setting = {"learning_rate": rate, "l2": penalty, "epochs": float(epochs)}
    probe = LinearProbe(y[:0], setting, accuracy, loss, weight, bias, classes)
    return replace(probe, predictions=probe.predict(test_x))


def _scales(x: Tensor, rows: Tensor, batch_norm: bool) -> tuple[Tensor, Tensor]:
    """Mean and deviation [D] over rows of x, in two passes' worth of sums; constant columns get an infinite one."""
    sums, squares = (torch.zeros(x.shape[1], dtype=torch.float64, device="cpu") for _ in range(2))
    for part in rows.sort().values.split(PASS_ROWS):
        values = x[part].double()
        sums, squares = sums + values.sum(0), squares + values.square().sum(0)
    mean = sums / len(rows)
    std = (squares / len(rows) - mean.square()).clamp(min=0).sqrt()
    constant = std <= 1e-6 * mean.abs()
    if not batch_norm:
        std = torch.full_like(std, std[~constant].square().mean().sqrt().item())
    std[constant] = torch.inf
    return mean.float(), std.float()


def _batches(rows: Tensor, epochs: int, seed: int) -> Iterator[Tensor]:
    """Batches of rows, sorted inside so that a disk is read in one direction; the last of an epoch may be short."""
    generator = torch.Generator("cpu").manual_seed(seed)
    for _ in range(epochs):
        for part in rows[torch.randperm(len(rows), generator=generator, device="cpu")].split(BATCH):
            yield part.sort().values


def _descend(
    x: Tensor,
    y: Tensor,
    rows: Tensor,
    scales: tuple[Tensor, Tensor],
    classes: int,
    epochs: int,
    seed: int,
    settings: Sequence[tuple[float, float]],
) -> tuple[Tensor, Tensor]:
    """Heads [R, C, D] and biases [R, C], one for each (rate, penalty), after `epochs` passes."""
    mean, std = scales
    rates, penalties = torch.tensor(settings, device=mean.device).T[:, :, None, None]
    heads = mean.new_zeros(len(settings), classes, x.shape[1] + 1)
    velocity, steps = torch.zeros_like(heads), epochs * -(-len(rows) // BATCH)
    for step, part in enumerate(_batches(rows, epochs, seed)):
        inputs = functional.pad((x[part].to(mean.device) - mean) / std, (0, 1), value=1.0)
        truth = functional.one_hot(y[part], classes).to(inputs)
        wrong = torch.einsum("bd,rcd->rbc", inputs, heads).softmax(2) - truth
        gradient = torch.einsum("rbc,bd->rcd", wrong, inputs) / len(part)
        gradient[..., :-1] += penalties * heads[..., :-1]
        velocity = MOMENTUM * velocity + gradient
        heads -= rates * (0.5 * (1 + math.cos(math.pi * step / steps))) * velocity
    return heads[..., :-1], heads[..., -1]


def _judge(heads, x: Tensor, y: Tensor, rows: Tensor, scales) -> tuple[list[float], list[float]]:
    """Accuracy and cross-entropy of each head on rows of x."""
    mean, std = scales
    count = len(heads[0])
    hits, losses = torch.zeros(count, device="cpu"), torch.zeros(count, device="cpu")
    for part in rows.sort().values.split(BATCH):
        inputs, truth = (x[part].to(mean.device) - mean) / std, y[part].to(mean.device)
        log_p = (torch.einsum("bd,rcd->rbc", inputs, heads[0]) + heads[1][:, None]).log_softmax(2)
        hits += (log_p.argmax(2) == truth).sum(1).cpu()
        losses -= log_p.gather(2, truth.expand(count, -1)[..., None]).sum((1, 2)).cpu()
    return (hits / len(rows)).tolist(), (losses / len(rows)).tolist()
