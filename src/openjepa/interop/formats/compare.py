"""How close another library comes to openjepa on the same pixels."""

from collections.abc import Callable

import torch
from torch import Tensor

from openjepa.errors import UsageError


@torch.no_grad()
def compare(forward: Callable[[Tensor], Tensor], encoder: Callable[[Tensor], Tensor], pixels: Tensor) -> dict:
    """Largest and mean absolute difference of patch tokens and embeddings over pixels [B, C, H, W].

    Raises UsageError where either gives numbers that are not finite.
    """
    pairs = [(forward(image).float(), encoder(image)) for image in pixels.split(1)]
    a, b = (torch.cat(tokens) for tokens in zip(*pairs, strict=True))
    if not b.isfinite().all():
        raise UsageError("the encoder gives numbers that are not finite: its weights are damaged")
    if not a.isfinite().all():
        raise UsageError("the exported encoder gives numbers that are not finite: if --half was given, leave it out")
    return {"images": len(pixels), "patch_tokens": _gap(a, b), "embedding": _gap(a.mean(dim=1), b.mean(dim=1))}


def _gap(a: Tensor, b: Tensor) -> dict[str, float]:
    gap = (a - b).abs()
    return {"max": float(gap.max()), "mean": float(gap.mean()), "typical_size": float(b.abs().mean())}
