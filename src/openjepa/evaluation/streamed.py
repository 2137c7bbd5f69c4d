"""The linear probe for features that do not fit in memory: mini-batches from a memory map, on any device."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from openjepa.evaluation.linear import LinearProbe, unstandardised

RATES = (0.01, 0.03, 0.1, 0.3, 1.0)
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
    """Softmax regression by SGD with momentum 0.9 and a cosine, for five learning rates side by side.

    x [n, D] may be a memory map: held at a time are a batch of 4,096 rows and the heads. `fit` and `validation` are
    rows of x; the head most accurate on validation is kept, of equals the one with the lowest cross-entropy. As the
    paper's probe (appendix A.2), which takes 50 epochs of 16,384 images, a step decay and no choice of rate.
    """
    classes, targets = y.unique(return_inverse=True)
    mean, std = _scales(x, fit, batch_norm)
    heads = _descend(x, targets, fit, (mean.to(device), std.to(device)), len(classes), epochs, seed)
    hits, losses = _judge(heads, x, targets, validation, (mean.to(device), std.to(device)))
    best = min(range(len(RATES)), key=lambda head: (-hits[head], losses[head]))
    weight, bias = unstandardised(heads[0][best].cpu(), heads[1][best].cpu(), mean, std)
    setting = {"learning_rate": RATES[best], "epochs": float(epochs)}
    probe = LinearProbe(y[:0], setting, hits[best], losses[best], weight, bias, classes)
    return LinearProbe(probe.predict(test_x), setting, hits[best], losses[best], weight, bias, classes)


def _scales(x: Tensor, rows: Tensor, batch_norm: bool) -> tuple[Tensor, Tensor]:
    """Mean and deviation [D] over rows of x, in two passes' worth of sums; constant columns get an infinite one."""
    sums, squares = torch.zeros(x.shape[1], dtype=torch.float64), torch.zeros(x.shape[1], dtype=torch.float64)
    for part in rows.sort().values.split(PASS_ROWS):
        values = x[part].double()
        sums, squares = sums + values.sum(0), squares + values.square().sum(0)
    mean = sums / len(rows)
    std = (squares / len(rows) - mean.square()).clamp(min=0).sqrt()
    constant = std <= 1e-6 * mean.abs()
    if not batch_norm:
        std = torch.full_like(std, std[~constant].square().mean().sqrt())
    std[constant] = torch.inf
    return mean.float(), std.float()


def _batches(rows: Tensor, epochs: int, seed: int) -> Iterator[Tensor]:
    """Batches of rows, sorted inside so that a disk is read in one direction; the last of an epoch may be short."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for part in rows[torch.randperm(len(rows), generator=generator)].split(BATCH):
            yield part.sort().values


def _descend(x: Tensor, y: Tensor, rows: Tensor, scales, classes: int, epochs: int, seed: int) -> tuple[Tensor, Tensor]:
    """Heads [R, C, D] and biases [R, C], one for each rate, after `epochs` passes."""
    mean, std = scales
    rates = torch.tensor(RATES, device=mean.device)[:, None, None]
    heads = torch.zeros(len(RATES), classes, x.shape[1] + 1, device=mean.device)
    velocity, steps = torch.zeros_like(heads), epochs * -(-len(rows) // BATCH)
    for step, part in enumerate(_batches(rows, epochs, seed)):
        inputs = torch.nn.functional.pad((x[part].to(mean.device) - mean) / std, (0, 1), value=1.0)
        truth = functional.one_hot(y[part], classes).to(inputs)
        wrong = torch.einsum("bd,rcd->rbc", inputs, heads).softmax(2) - truth
        velocity = MOMENTUM * velocity + torch.einsum("rbc,bd->rcd", wrong, inputs) / len(part)
        heads -= rates * 0.5 * (1 + torch.cos(torch.tensor(torch.pi * step / steps))) * velocity
    return heads[..., :-1], heads[..., -1]


def _judge(heads, x: Tensor, y: Tensor, rows: Tensor, scales) -> tuple[list[float], list[float]]:
    """Accuracy and cross-entropy of each head on rows of x."""
    mean, std = scales
    hits, losses = torch.zeros(len(RATES)), torch.zeros(len(RATES))
    for part in rows.sort().values.split(BATCH):
        inputs, truth = (x[part].to(mean.device) - mean) / std, y[part].to(mean.device)
        log_p = (torch.einsum("bd,rcd->rbc", inputs, heads[0]) + heads[1][:, None]).log_softmax(2)
        hits += (log_p.argmax(2) == truth).sum(1).cpu()
        losses -= log_p.gather(2, truth.expand(len(RATES), -1)[..., None]).sum((1, 2)).cpu()
    return (hits / len(rows)).tolist(), (losses / len(rows)).tolist()
