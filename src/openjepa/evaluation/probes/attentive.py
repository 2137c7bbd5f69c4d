"""Attentive probe: a learned query attends to all patch tokens, and finds what their mean loses."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

EPOCHS, BATCH = 10, 128
RATES = (3e-4, 1e-3)
HEAD_WIDTH = 64


class AttentiveHead(nn.Module):
    """One query's cross-attention over tokens [B, N, D] and a linear classifier: logits [B, C].

    As the attentive pooling of V-JEPA (Bardes et al. 2024, arXiv 2404.08471, section 4), without its MLP.
    """

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__()
        heads = next(h for h in range(max(1, dim // HEAD_WIDTH), 0, -1) if dim % h == 0)
        self.query = nn.Parameter(torch.randn(1, 1, dim) * 0.02)
        self.norm = nn.LayerNorm(dim)
        self.attention = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.classify = nn.Linear(dim, classes)

    def forward(self, tokens: Tensor) -> Tensor:
        keys = self.norm(tokens)
        pooled, _ = self.attention(self.query.expand(len(tokens), -1, -1), keys, keys, need_weights=False)
        return self.classify(pooled[:, 0])


@dataclass(frozen=True)
class AttentiveProbe:
    """predictions [m] int64; the learning rate and epochs that were best on validation, and its accuracy there."""

    predictions: Tensor
    setting: dict[str, float]
    val_accuracy: float


def attentive_probe(
    train_x: Tensor,
    train_y: Tensor,
    val_x: Tensor,
    val_y: Tensor,
    test_x: Tensor,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> AttentiveProbe:
    """AdamW for ten epochs at two learning rates with a cosine; the rate and epoch best on validation are kept.

    tokens [n, N, D] float32, which may be memory maps; labels [n] int64. torch's global generator is left alone.
    """
    classes, targets = train_y.unique(return_inverse=True)
    best: tuple[float, dict[str, float], dict[str, Tensor]] = -1.0, {}, {}
    with torch.random.fork_rng(devices=[]):
        for rate in RATES:
            torch.manual_seed(seed)
            head = AttentiveHead(train_x.shape[-1], len(classes)).to(device)
            for epoch in _train(head, train_x, targets, rate, seed):
                accuracy = float((classes[answers(head, val_x)] == val_y).float().mean())
                if accuracy > best[0]:
                    state = {name: value.detach().clone() for name, value in head.state_dict().items()}
                    best = accuracy, {"learning_rate": rate, "epochs": float(epoch)}, state
    head.load_state_dict(best[2])
    return AttentiveProbe(classes[answers(head, test_x)], best[1], best[0])


def _train(head: AttentiveHead, x: Tensor, y: Tensor, rate: float, seed: int) -> Iterator[int]:
    """Train epoch by epoch, yielding how many are done."""
    device = head.query.device
    steps = EPOCHS * -(-len(x) // BATCH)
    optimizer = torch.optim.AdamW(head.parameters(), lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    order = torch.Generator().manual_seed(seed)
    for epoch in range(1, EPOCHS + 1):
        for rows in torch.randperm(len(x), generator=order).split(BATCH):
            loss = nn.functional.cross_entropy(head(x[rows].to(device)), y[rows].to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        yield epoch


@torch.inference_mode()
def answers(head: AttentiveHead, x: Tensor) -> Tensor:
    """The class [n] int64 of tokens [n, N, D], on the CPU."""
    device = head.query.device
    return torch.cat([head(part.to(device)).argmax(1).cpu() for part in x.split(512)])
