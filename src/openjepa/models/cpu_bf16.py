"""Linear layers whose bias, and the GELU after them, cost no pass over memory: oneDNN's, for bf16 on a CPU.

torch's own linear layer copies the bias into its output before it multiplies, which is some per cent of a step of
I-JEPA (benchmarks/levers.py). Only where no gradient is wanted, as in a target encoder: oneDNN gives none.
"""

import functools

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@functools.cache
def there() -> bool:
    """Whether this build of torch and this processor have the operation."""
    namespace = torch.ops.mkldnn
    return hasattr(namespace, "_linear_pointwise") and namespace._is_mkldnn_bf16_supported()


def flop_formulas() -> dict:
    """What torch.utils.flop_counter does not know: the floating-point operations of `fused`, from its shapes."""
    return {torch.ops.mkldnn._linear_pointwise: _flops} if there() else {}


def _flops(x: torch.Size, weight: torch.Size, *_: object, out_shape: object = None) -> int:
    return 2 * x.numel() * weight[0]


def fuses(x: Tensor, layer: nn.Linear) -> bool:
    """Whether `layer` may be done by oneDNN for these tokens, here and now."""
    # The compiler fuses by itself, and refuses this; a layer that another library put there is its own affair.
    if torch.compiler.is_compiling() or type(layer) is not nn.Linear:
        return False
    if torch.is_grad_enabled() and (x.requires_grad or layer.weight.requires_grad):
        return False
    bf16 = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
    return x.device.type == "cpu" and bf16 and there()


def affine(x: Tensor, layer: nn.Linear) -> Tensor:
    """What `layer` makes of x [..., inputs]: [..., outputs]."""
    return fused(x, layer, "none") if fuses(x, layer) else layer(x)


def affine_gelu(x: Tensor, layer: nn.Linear) -> Tensor:
    """The GELU (Hendrycks and Gimpel 2016, exact) of what `layer` makes of x."""
    return fused(x, layer, "gelu") if fuses(x, layer) else F.gelu(layer(x))


def fused(x: Tensor, layer: nn.Linear, after: str) -> Tensor:
    """`layer` and what comes `after` it ("none" or "gelu") in one operation, in bf16."""
    weight, bias, x = (t.to(torch.bfloat16) for t in (layer.weight, layer.bias, x))
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, after, [], "none")
