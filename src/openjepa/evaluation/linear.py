"""Linear probe: softmax regression on frozen features, its regularisation chosen on a validation part.

All strengths are fitted at once, as one weight tensor [D + 1, G, C] (the last row is the bias), on the whole training
part, by nonlinear conjugate gradients. The problem is convex, so there is no learning rate to choose, and the
preconditioner makes some tens of passes enough however correlated the features are.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from openjepa.evaluation.checks import require_finite

# scikit-learn's C, in half decades: few images of many correlated features want the small end, many images the large
INVERSE_STRENGTHS = tuple(10 ** (k / 2) for k in range(-8, 4))
MAX_STEPS = 40
TOLERANCE = 1e-5  # nats per image that the next step may still win
GRAM_ROWS = 8192
CHUNK_ELEMENTS = 2**18  # logits handled at a time: what fits a core's cache
GROUP_ELEMENTS = 2**28  # logits held at a time: 1 GiB


@dataclass(frozen=True)
class LinearProbe:
    """predictions [m] int64 for the test part; setting: the chosen {"l2": strength}; val_accuracy in [0, 1]."""

    predictions: torch.Tensor
    setting: dict[str, float]
    val_accuracy: float


def linear_probe(
    train_x: torch.Tensor,
    train_y: torch.Tensor,
    val_x: torch.Tensor,
    val_y: torch.Tensor,
    test_x: torch.Tensor,
    seed: int = 0,
) -> LinearProbe:
    """The best linear classifier of frozen features, as softmax regression with an L2 penalty.

    Minimises mean cross-entropy + l2 / 2 * |weights|^2 (the bias is free) on features standardised by the training
    part, for twelve l2 = 1 / (C n), C from 1e-4 to 31.6; the most accurate on the validation part is chosen, of equals
    the strongest. Columns that are constant in the training part are ignored. Only labels of the training part are
    predicted. `seed` picks the rows that shape the preconditioner; torch's global generator is left alone.

    train_x [n, D], val_x [v, D], test_x [m, D] float32; train_y [n], val_y [v] int64.
    Raises UsageError when features are not finite.
    """
    require_finite(train_x, val_x, test_x)
    classes, targets = train_y.unique(return_inverse=True)
    scale = _Scale(train_x)
    l2 = torch.tensor([1 / (c * len(train_x)) for c in INVERSE_STRENGTHS])
    weights = _fit(scale(train_x), targets, len(classes), l2, seed)
    hits = (classes[_predict(val_x, scale, weights)] == val_y[:, None]).float().mean(0)
    best = int(hits.argmax())  # argmax takes the first of equals, and the strengths descend
    predictions = classes[_predict(test_x, scale, weights[:, best : best + 1])[:, 0]]
    return LinearProbe(predictions, {"l2": l2[best].item()}, hits[best].item())


class _Scale:
    """x [n, D] -> [n, D + 1]: standardised by the training part, with a column of ones for the bias."""

    def __init__(self, train_x: torch.Tensor):
        std, self.mean = torch.std_mean(train_x, dim=0, correction=0)
        constant = std <= 1e-6 * self.mean.abs()
        self.std = std.masked_fill(constant, torch.inf)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        out = x.new_ones(len(x), x.shape[1] + 1)
        torch.sub(x, self.mean, out=out[:, :-1]).div_(self.std)
        return out


def _predict(x: torch.Tensor, scale: _Scale, weights: torch.Tensor) -> torch.Tensor:
    """[m, G]: the class each head finds likeliest."""
    return torch.cat(
        [
            (scale(x[rows]) @ weights.flatten(1)).unflatten(1, weights.shape[1:]).argmax(-1)
            for rows in _chunks(len(x), weights[0].numel())
        ]
    )


def _chunks(n: int, width: int) -> Iterator[slice]:
    size = max(1, CHUNK_ELEMENTS // width)
    return (slice(start, start + size) for start in range(0, n, size))


def _fit(x: torch.Tensor, y: torch.Tensor, classes: int, l2: torch.Tensor, seed: int) -> torch.Tensor:
    """Weights [D + 1, G, C], in as many groups of heads as memory asks for."""
    spectrum = _spectrum(x, seed)
    moments = x.T @ torch.nn.functional.one_hot(y, classes).to(x.dtype) / len(x)
    group = max(1, GROUP_ELEMENTS // (len(x) * classes))
    return torch.cat([_descend(x, moments[:, None], part, spectrum) for part in l2.split(group)], dim=1)


def _spectrum(x: torch.Tensor, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Eigenvalues [D + 1] and vectors of the features' second moments, from a sample of the rows."""
    rows = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))[:GRAM_ROWS]
    values, vectors = torch.linalg.eigh(x[rows].T @ x[rows] / len(rows))
    return values.clamp(min=0), vectors


def _descend(x, moments, l2, spectrum) -> torch.Tensor:
    """Preconditioned conjugate gradients (Polak and Ribiere, restarted when beta < 0) from zero; x [n, D + 1]."""
    (values, vectors), dims, classes = spectrum, x.shape[1], moments.shape[2]
    # at zero weights the Hessian is exactly second moments / classes + l2
    rescale = 1 / (values[:, None, None] / classes + l2[:, None])
    penalty = l2[:, None].repeat(dims, 1, 1)
    penalty[-1] = 0
    weights = x.new_zeros(dims, len(l2), classes)
    logits = x.new_zeros(len(x), len(l2), classes)
    direction, previous, won = torch.zeros_like(weights), torch.zeros_like(weights), torch.ones(len(l2))
    for step in range(MAX_STEPS):
        gradient = _probability_moments(x, logits) - moments + penalty * weights
        downhill = -(vectors @ (rescale * (vectors.T @ gradient.flatten(1)).view_as(weights)).flatten(1)).view_as(
            weights
        )
        beta = (((gradient - previous) * -downhill).sum((0, 2)) / won).clamp(min=0)
        won = -(gradient * downhill).sum((0, 2))
        DEBUG.append(won.tolist())
        if won.max() < TOLERANCE:
            break
        direction = downhill + beta[:, None] * direction
        bad = (direction * gradient).sum((0, 2)) >= 0
        direction = torch.where(bad[:, None], downhill, direction)
        previous = gradient
        change = (x @ direction.flatten(1)).view_as(logits)
        slope = (direction * (penalty * weights - moments)).sum((0, 2))
        curvature = (penalty * direction**2).sum((0, 2))
        length = _line_search(logits, change, slope, curvature)
        weights += length[:, None] * direction
        logits += change * length[:, None]
    DEBUG.append(step)
    return weights


DEBUG = []
MODE = (2, "damp")


def _probability_moments(x, logits):
    out = x.new_zeros(x.shape[1], logits[0].numel())
    for rows in _chunks(len(x), logits[0].numel()):
        out.addmm_(x[rows].T, logits[rows].softmax(-1).flatten(1))
    return out.view(-1, *logits.shape[1:]) / len(x)


def _line_search(logits, change, slope, curvature):
    n = len(logits)
    length = torch.zeros(logits.shape[1])
    reach = (
        torch.stack(
            [change[rows].amax(-1).sub_(change[rows].amin(-1)).amax(0) for rows in _chunks(n, logits[0].numel())]
        )
        .amax(0)
        .clamp(min=1e-12)
    )
    for _ in range(MODE[0]):
        first, second = slope + length * curvature, curvature.clone()
        for rows in _chunks(n, logits[0].numel()):
            part = change[rows]
            p = torch.add(logits[rows], part * length[:, None]).softmax(-1)
            pd = p * part
            mean = pd.sum(-1)
            first += mean.sum(0) / n
            second += ((pd * part).sum((0, 2)) - (mean * mean).sum(0)) / n
        newton = -first / second.clamp(min=1e-30)
        if MODE[1] == "damp":
            length += newton.sign() * torch.log1p(reach * newton.abs()) / reach
        else:
            length += newton
    return length
