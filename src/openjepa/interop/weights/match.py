"""Tensors matched with the network that they are for, one for one: names, shapes, number formats, finite values."""

import torch
from torch import Tensor, nn

from openjepa.safety.schema import shortened

FORMATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
NAMED = 6  # tensors that a message names


def matched(state: dict[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """The tensors of a network, `pos_embed` apart, as float32.

    Raises ValueError, listing what is missing, extra, misshapen, not of floating-point numbers or not finite;
    `pos_embed` must be finite too.
    """
    expected = {name: tuple(t.shape) for name, t in network.state_dict().items() if name != "pos_embed"}
    wrong_shape = [name for name, shape in expected.items() if name in state and tuple(state[name].shape) != shape]
    faults = {
        "missing": sorted(expected.keys() - state.keys()),
        "extra": sorted(map(shortened, state.keys() - expected.keys() - {"pos_embed"})),
        "misshapen": [f"{name} {list(state[name].shape)} and not {list(expected[name])}" for name in wrong_shape],
        "not floating-point": [f"{shortened(name)} ({t.dtype})" for name, t in state.items() if not _is_number(t)],
    }
    if not any(faults.values()):
        numbers = {name: value.float() for name, value in state.items()}
        faults = {"not finite": [name for name, value in numbers.items() if not is_finite(value)]}
    if found := [f"{fault}: {_some(names)}" for fault, names in faults.items() if names]:
        raise ValueError("; ".join(found))
    return {name: numbers[name] for name in expected}


def is_finite(value: Tensor) -> bool:
    """Whether a float tensor has no NaN and no infinite number, found in one pass without a copy."""
    return bool(torch.stack(value.aminmax()).isfinite().all())


def _is_number(value: Tensor) -> bool:
    return value.dtype in FORMATS and value.numel() > 0


def _some(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
