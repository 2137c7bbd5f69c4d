"""What another library makes of the same images, against what we make of them."""

from collections.abc import Callable

import torch
from torch import Tensor

from openjepa.core.vit import VisionTransformer

Theirs = Callable[[Tensor], Tensor]  # pixels [B, C, H, W], standardised, to patch tokens [B, N, D]


@torch.no_grad()
def compare(theirs: Theirs, encoder: VisionTransformer, pixels: Tensor) -> dict:
    """Largest and mean absolute difference of patch tokens and embeddings over pixels [B, C, H, W]."""
    pairs = [(theirs(image).float(), encoder(image)) for image in pixels.split(1)]
    a, b = (torch.cat(tokens) for tokens in zip(*pairs, strict=True))
    return {"images": len(pixels), "patch_tokens": _gap(a, b), "embedding": _gap(a.mean(dim=1), b.mean(dim=1))}


def _gap(a: Tensor, b: Tensor) -> dict[str, float]:
    gap = (a - b).abs()
    return {"max": float(gap.max()), "mean": float(gap.mean()), "typical_size": float(b.abs().mean())}
