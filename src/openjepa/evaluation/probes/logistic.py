"""Linear probe: softmax regression on frozen features, its regularisation chosen on a validation part.

All strengths ("heads") are fitted at once, as one weight tensor [C, G, D + 1] whose last column is the bias, on the
whole training part, by preconditioned conjugate gradients. The problem is convex, so there is no learning rate to
choose; the preconditioner makes a few tens of passes enough however correlated the features are. Classes come first
in every tensor because a softmax over the first axis is many times faster on a CPU than one over a short last axis.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from openjepa.errors import UsageError

# scikit-learn's C in half decades: a few images with many features need the small end, many images the large one
INVERSE_STRENGTHS = tuple(10 ** (k / 2) for k in range(-8, 4))
MAX_STEPS = 30
TOLERANCE = 1e-5  # nats per image that one more step could still win
SPECTRUM_ROWS = 8192
CHUNK_ELEMENTS = 2**18  # logits handled at a time, so that they stay in a core's cache
HELD_ELEMENTS = 2**28  # logits held at a time: 1 GiB, or one head where that alone is more


@dataclass(frozen=True)
class LinearProbe:
    """A fitted linear classifier.

    predictions [m] int64 for the test part; setting {"l2": chosen strength}; val_accuracy in [0, 1], val_loss in nats;
    weight [C, D] and bias [C] of the classes [C] (labels, int64) on features as they are, not standardised.
    """

    predictions: Tensor
    setting: dict[str, float]
    val_accuracy: float
    val_loss: float
    weight: Tensor
    bias: Tensor
    classes: Tensor

    def logits(self, features: Tensor) -> Tensor:
        """Logits [b, C] of features [b, D]."""
        return features @ self.weight.T + self.bias

    def predict(self, features: Tensor) -> Tensor:
        """Labels [b] int64 of features [b, D]."""
        return self.classes[torch.cat([self.logits(part).argmax(1) for part in features.split(8192)])]


def linear_probe(
    train_x: Tensor,
    train_y: Tensor,
    val_x: Tensor,
    val_y: Tensor,
    test_x: Tensor,
    seed: int = 0,
    batch_norm: bool = True,
    inverse_strengths: Sequence[float] = INVERSE_STRENGTHS,
    device: torch.device | str = "cpu",
) -> LinearProbe:
    """The best linear classifier of frozen features: softmax regression with an L2 penalty chosen on validation.

    Minimises mean cross-entropy + l2 / 2 * |weights|^2 (the bias is free) on features standardised by the training
    part (each by its own deviation, as batch norm does; without `batch_norm` all by one), for every l2 = 1 / (C n) with
    C in `inverse_strengths` (twelve from 1e-4 to 32). Of the heads whose validation accuracy is within one
    standard error of the best, the one with the lowest validation cross-entropy is taken, of equals the strongest.
    Columns constant in the training part are ignored; only labels of the training part are predicted. `seed` draws
    the rows that shape the preconditioner; torch's global generator is left alone. `device` is where the arithmetic
    runs; everything returned lies on the CPU.

    train_x [n, D], val_x [v, D], test_x [m, D] float32; train_y [n], val_y [v] int64; n, v, m > 0.
    Raises UsageError when features are not finite.
    """
    require_finite(train_x, val_x, test_x)
    classes, targets = train_y.unique(return_inverse=True)
    train_x = train_x.to(device)
    mean, std = _scales(train_x, batch_norm)
    prepare = _standardiser(mean, std)
    l2 = torch.tensor([1 / (c * len(train_x)) for c in inverse_strengths], device=device)
    heads = _fit(prepare(train_x), targets.to(device), len(classes), l2, seed)
    best, accuracy, loss = _choose(prepare, heads, val_x, classes == val_y[:, None])
    kept = heads[:, best]
    predicted = torch.cat([_logits(kept, prepare(part)).argmax(0).cpu() for part in test_x.split(8192)])
    weight, bias = unstandardised(kept[:, :-1].cpu(), kept[:, -1].cpu(), mean.cpu(), std.cpu())
    return LinearProbe(classes[predicted], {"l2": l2[best].item()}, accuracy, loss, weight, bias, classes)


def require_finite(*features: Tensor) -> None:
    """Raises UsageError if features [n, D] hold NaN or infinity: a probe would give them plausible scores."""
    bad = sum(int((~x.sum(dim=1).isfinite()).sum()) for x in features)
    if bad:
        raise UsageError(
            f"{bad} of {sum(map(len, features))} images have features that are NaN or infinite, and a probe needs "
            "finite ones: the encoder has diverged, so train again with a lower --lr"
        )


def unstandardised(weight: Tensor, bias: Tensor, mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
    """A head on (x - mean) / std as one on x: weight [C, D], bias [C], mean and std [D]."""
    plain = weight.double() / std
    return plain.float(), (bias - plain @ mean.double()).float()


def _scales(train_x: Tensor, batch_norm: bool) -> tuple[Tensor, Tensor]:
    """Mean and deviation [D] to standardise by; the deviation of constant columns is infinite."""
    std, mean = torch.std_mean(train_x, dim=0, correction=0)
    constant = std <= 1e-6 * mean.abs()
    if not batch_norm:
        std = torch.full_like(std, std[~constant].square().mean().sqrt().item())
    std[constant] = torch.inf
    return mean, std


def _standardiser(mean: Tensor, std: Tensor) -> Callable[[Tensor], Tensor]:
    """x [n, D] to [n, D + 1]: standardised, constant columns zero, a last column of ones."""

    def prepare(x: Tensor) -> Tensor:
        out = mean.new_ones(len(x), x.shape[1] + 1)
        torch.sub(x.to(mean.device), mean, out=out[:, :-1]).div_(std)
        return out

    return prepare


def _choose(prepare: Callable[[Tensor], Tensor], heads: Tensor, x: Tensor, truth: Tensor) -> tuple[int, float, float]:
    """The head to keep, its accuracy and loss; truth [v, C] bool has an empty row where training lacks a class.

    Cross-entropy breaks the near ties because accuracy is a coarse judge: on 125 validation images of a real data set
    the most accurate head was up to 5 points worse on the test part than the best one, the head chosen here under 2.
    """
    hits, losses = heads.new_zeros(heads.shape[1]), heads.new_zeros(heads.shape[1])
    for part, row in zip(x.split(1024), truth.T.split(1024, dim=1), strict=True):
        log_p, row = _logits(heads, prepare(part)).log_softmax(0), row.to(heads.device)
        hits += row.gather(0, log_p.argmax(0)).sum(1)
        losses -= (log_p * row[:, None]).sum((0, 2))
    accuracy = hits / len(x)
    top = accuracy.max()
    losses[accuracy < top - (top * (1 - top) / len(x)).sqrt()] = torch.inf
    best = int(losses.argmin())
    return best, accuracy[best].item(), losses[best].item() / len(x)


def _fit(x: Tensor, y: Tensor, classes: int, l2: Tensor, seed: int) -> Tensor:
    """Heads [C, G, D + 1] for features [n, D + 1], in as many groups as memory requires."""
    if len(x) < x.shape[1] - 1:  # the best weights lie in the span of the images: solve there
        basis = torch.block_diag(torch.linalg.qr(x[:, :-1].T).Q, x.new_ones(1, 1))
        return _fit(x @ basis, y, classes, l2, seed) @ basis.T
    spectrum = _spectrum(x, seed)
    moments = torch.nn.functional.one_hot(y, classes).T.to(x.dtype) @ x / len(x)
    groups = l2.split(max(1, HELD_ELEMENTS // (len(x) * classes)))
    return torch.cat([_descend(x, moments[:, None], group[:, None], *spectrum) for group in groups], dim=1)


def _spectrum(x: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Eigenvalues [D + 1] and eigenvectors of the second moments, from a sample of the rows; the bias by itself."""
    order = torch.randperm(len(x), generator=torch.Generator("cpu").manual_seed(seed), device="cpu")
    rows = order[:SPECTRUM_ROWS].to(x.device)
    sample = x[rows, :-1]
    values, vectors = torch.linalg.eigh(sample.T @ sample / len(rows))
    return torch.cat([values.clamp(min=0), x.new_ones(1)]), torch.block_diag(vectors, x.new_ones(1, 1))


def _descend(x: Tensor, moments: Tensor, l2: Tensor, values: Tensor, vectors: Tensor) -> Tensor:
    """Conjugate gradients (Polak and Ribière 1969, beta >= 0) from zero, in all heads [C, G, D + 1] side by side."""
    penalty = l2.repeat(1, x.shape[1])
    penalty[:, -1] = 0
    rescale = 1 / (values / len(moments) + penalty)  # the inverse Hessian at zero weights, in the eigenbasis
    weights = x.new_zeros(len(moments), *penalty.shape)
    direction, previous, won = torch.zeros_like(weights), torch.zeros_like(weights), torch.ones_like(l2[:, 0])
    chunk = CHUNK_ELEMENTS if x.device.type == "cpu" else HELD_ELEMENTS
    parts = x.split(max(1, chunk // weights[..., 0].numel()))
    logits = [_logits(weights, part) for part in parts]
    for _ in range(MAX_STEPS):
        expected = sum(logit.softmax(0) @ part for logit, part in zip(logits, parts, strict=True)) / len(x)
        gradient = expected - moments + penalty * weights
        uphill = (gradient @ vectors * rescale) @ vectors.T
        beta = ((gradient - previous) * uphill).sum((0, 2)).div(won.clamp(min=1e-30)).clamp(min=0)
        previous, won = gradient, (gradient * uphill).sum((0, 2))
        if won.max() < TOLERANCE:
            break
        direction = beta[:, None] * direction - uphill
        changes = [_logits(direction, part) for part in parts]
        bend = (penalty * direction**2).sum((0, 2))
        length = _step_length((gradient * direction).sum((0, 2)), bend, logits, changes)[:, None]
        weights += length * direction
        for logit, change in zip(logits, changes, strict=True):
            logit.addcmul_(change, length)
    return weights


def _step_length(slope: Tensor, bend: Tensor, logits: list[Tensor], changes: list[Tensor]) -> Tensor:
    """How far to go in each head [G]: a Newton step, damped so that the loss cannot rise.

    Along a line the third derivative of softmax regression is at most `reach` times the second, `reach` being the
    widest spread of the change over the classes of one image (self-concordance: Bach 2010, arXiv 0910.4627).
    """
    n, reach = sum(change.shape[2] for change in changes), torch.zeros_like(bend)
    for logit, change in zip(logits, changes, strict=True):
        weighted = logit.softmax(0) * change
        bend = bend + ((weighted * change).sum(0) - weighted.sum(0).square()).sum(1) / n
        reach = reach.maximum((change.amax(0) - change.amin(0)).amax(1))
    reach, newton = reach.clamp(min=1e-9), slope / bend.clamp(min=1e-20)
    return -newton.sign() * torch.log1p(reach * newton.abs()) / reach


def _logits(weights: Tensor, x: Tensor) -> Tensor:
    """weights [C, ..., D + 1] on x [b, D + 1]: [C, ..., b]."""
    return weights @ x.T
