"""Where the arithmetic runs and in which numbers, when the person leaves it to us."""

import torch

from openjepa.errors import UsageError

PRECISIONS = {"bf16": torch.bfloat16, "float32": torch.float32}


def choose_device(name: str = "auto") -> torch.device:
    """ "auto": CUDA, then MPS, then CPU. Raises UsageError if the device asked for is not there."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, present in there.items() if present))
    kind = name.split(":")[0]
    if not there.get(kind):
        usable = ", ".join(["auto", *(kind for kind, present in there.items() if present)])
        raise UsageError(f"device {name} is not available here: use one of {usable}")
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"device {name} is not a device: {str(error).splitlines()[0]}") from error


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """ "auto": bf16 where the device has instructions for it, else float32."""
    if name in PRECISIONS:
        return PRECISIONS[name]
    if name != "auto":
        raise UsageError(f"precision {name} is not known: known are auto, {', '.join(PRECISIONS)}")
    return torch.bfloat16 if has_bf16(device) else torch.float32


def has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return False
