"""Which of PyTorch's attention kernels is fastest on a GPU for the shapes that a network uses, by timing each."""

import contextlib
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

KERNELS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
}
DEFAULT = "default"  # what PyTorch chooses
REPEATS = 10
WORTH = 0.97  # times the default's seconds, below which another kernel is taken: closer ones change from run to run


@dataclass(frozen=True)
class Call:
    """An attention over q, k and v of these sizes and strides, with a backward pass where it `learns`."""

    sizes: tuple[tuple[int, ...], ...]
    strides: tuple[tuple[int, ...], ...]
    dtype: torch.dtype
    learns: bool

    @classmethod
    def of(cls, *qkv: Tensor) -> "Call":
        sizes, strides = (tuple(map(tuple, found)) for found in zip(*((x.shape, x.stride()) for x in qkv), strict=True))
        return cls(sizes, strides, qkv[0].dtype, qkv[0].requires_grad)

    def tensors(self, device: torch.device) -> list[Tensor]:
        """Random q, k and v."""
        made = []
        for size, stride in zip(self.sizes, self.strides, strict=True):
            x = torch.empty_strided(size, stride, dtype=self.dtype, device=device)
            made.append(x.normal_().requires_grad_(self.learns))
        return made


class _Recorder(TorchFunctionMode):
    """Counts the calls of attention."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[Call] = Counter()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is scaled_dot_product_attention:
            self.calls[Call.of(*args[:3])] += 1
        return func(*args, **(kwargs or {}))


def attention_calls(compute: Callable[[], object]) -> Counter[Call]:
    """How often `compute()` calls attention, by what over."""
    with _Recorder() as recorder:
        compute()
    return recorder.calls


def attention_seconds(
    calls: Mapping[Call, int], device: torch.device, seconds_of: Callable[[Callable[[], object]], float]
) -> dict[str, float]:
    """Seconds of all calls, forward and backward, by kernel; infinite for one that cannot compute one of them.

    `seconds_of(call)` gives the seconds of a call until the device is done with it, after one that is not timed.
    """
    found = {}
    for kernel in (DEFAULT, *KERNELS):
        try:
            found[kernel] = sum(count * _seconds(call, kernel, device, seconds_of) for call, count in calls.items())
        except RuntimeError:  # "No available kernel", and what cuDNN raises
            found[kernel] = float("inf")
    return found


def _seconds(
    call: Call, kernel: str, device: torch.device, seconds_of: Callable[[Callable[[], object]], float]
) -> float:
    q, k, v = call.tensors(device)

    def repeated() -> None:
        for _ in range(REPEATS):
            result = scaled_dot_product_attention(q, k, v)
            if call.learns:
                torch.autograd.grad(result, (q, k, v), result)

    with sdpa_kernel(KERNELS[kernel]) if kernel in KERNELS else contextlib.nullcontext():
        return seconds_of(repeated) / REPEATS


def fastest(seconds: Mapping[str, float]) -> str | None:
    """The kernel that is clearly faster than the default; None to leave the choice to PyTorch."""
    best = min(KERNELS, key=lambda kernel: seconds[kernel])
    return best if seconds[best] < WORTH * seconds[DEFAULT] else None


def attention_by(kernel: str | None) -> AbstractContextManager[object]:
    """Within this context attention uses a kernel of KERNELS wherever it can; None changes nothing."""
    if kernel is None:
        return contextlib.nullcontext()
    others = (*KERNELS.values(), SDPBackend.MATH)
    first = KERNELS[kernel]
    return sdpa_kernel([first, *(other for other in others if other != first)], set_priority=True)
