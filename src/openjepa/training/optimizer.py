"""The optimizer of a run: Muon for the matrices inside of blocks, or AdamW for everything."""

import torch
from torch import nn

from openjepa.training.muon import Muon

OPTIMIZERS = ("muon", "adamw")


def make_optimizer(
    modules: list[nn.Module], name: str = "adamw", beta2: float = 0.999, precision: torch.dtype = torch.float32
) -> torch.optim.Optimizer:
    """`name` is "muon" or "adamw". Biases and other vectors do not decay; `set_schedule` sets rates at every step.

    Under "muon" the patch embedding, the predictor's ends and all vectors are left to AdamW (Jordan et al. 2024);
    `precision`, float32 or bfloat16, is that of its products.
    """
    named = [(n, p) for module in modules for n, p in module.named_parameters() if p.requires_grad]
    inner = {id(p) for n, p in named if name == "muon" and p.ndim == 2 and ".blocks." in f".{n}"}
    groups = [
        {"params": [p for _, p in named if id(p) in inner], "decayed": True, "orthogonal": True},
        {"params": [p for _, p in named if p.ndim > 1 and id(p) not in inner], "decayed": True, "orthogonal": False},
        {"params": [p for _, p in named if p.ndim <= 1], "decayed": False, "orthogonal": False},
    ]
    groups = [group for group in groups if group["params"]]
    return Muon(groups, precision, lr=0.0, betas=(0.9, beta2), weight_decay=0.0, fused=True)


def set_schedule(optimizer: torch.optim.Optimizer, lr: float, weight_decay: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr
        group["weight_decay"] = weight_decay if group["decayed"] else 0.0
