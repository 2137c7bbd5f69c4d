"""AdamW without decay on biases and 1-d parameters."""

import torch
from torch import nn


def make_optimizer(modules: list[nn.Module], betas: tuple[float, float] = (0.9, 0.999)) -> torch.optim.AdamW:
    """Two groups, decayed and not; learning rate and decay are set at every step by `set_schedule`."""
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "decayed": True},
        {"params": [p for p in parameters if p.ndim <= 1], "decayed": False},
    ]
    return torch.optim.AdamW(groups, lr=0.0, betas=betas, weight_decay=0.0, fused=True)


def set_schedule(optimizer: torch.optim.Optimizer, lr: float, weight_decay: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr
        group["weight_decay"] = weight_decay if group["decayed"] else 0.0
