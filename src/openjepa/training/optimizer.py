"""The optimizer of a run: Muon for the matrices inside of blocks, or AdamW for all; the loss scale of float16."""

import torch
from torch import Tensor, nn

from openjepa.training.muon import Muon

OPTIMIZERS = ("muon", "adamw")
SCALE, GROWTH = "scaler.scale", "scaler.growth"  # of a loss scaler, in checkpoints


def make_optimizer(
    modules: list[nn.Module], name: str = "adamw", beta2: float = 0.999, precision: torch.dtype = torch.float32
) -> torch.optim.Optimizer:
    """`name` is "muon" or "adamw". Biases and other vectors do not decay; `set_schedule` sets rates at every step.

    Under "muon" the patch embedding, the predictor's ends and all vectors are left to AdamW (Jordan et al. 2024);
    `precision` (float32, bfloat16 or float16) is that of its products.
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


def loss_scaler(precision: torch.dtype, device: torch.device) -> torch.amp.GradScaler:
    """A scaler that is enabled in float16 alone, whose small gradients would be zero without it.

    Micikevicius et al. 2018 (arXiv 1710.03740, section 3.2): the loss is multiplied by a scale, and the gradients are
    divided by it. A step whose gradients are not finite is skipped, and the scale halved.
    """
    return torch.amp.GradScaler(device.type, enabled=precision == torch.float16)


def scale_tensors(scaler: torch.amp.GradScaler) -> dict[str, Tensor]:
    """The state of a scaler as named tensors; {} where it is not enabled."""
    if not scaler.is_enabled():
        return {}
    state = scaler.state_dict()
    return {SCALE: torch.tensor(float(state["scale"])), GROWTH: torch.tensor(int(state["_growth_tracker"]))}


def load_scale(scaler: torch.amp.GradScaler, tensors: dict[str, Tensor]) -> None:
    """Restore what `scale_tensors` returned."""
    if scaler.is_enabled():
        found = {"scale": float(tensors[SCALE]), "_growth_tracker": int(tensors[GROWTH])}
        scaler.load_state_dict(scaler.state_dict() | found)
