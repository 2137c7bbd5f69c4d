"""Tensors from a file into a module of another library: all of them fit, or nothing is built."""

import math
from collections.abc import Callable, Mapping

from torch import Tensor, nn

from openjepa.errors import UsageError
from openjepa.interop.weights.files import FETCH
from openjepa.interop.weights.match import FORMATS, is_finite
from openjepa.safety.schema import shortened

NAMED = 6  # tensors that a message names


def fill_module(
    build: Callable[[], nn.Module], expected: Mapping[str, Tensor], state: dict[str, Tensor], name: str
) -> nn.Module:
    """The module that `build` gives, with the tensors of `state`, floating-point ones as float32.

    `expected` are tensors of its names and shapes (on the meta device), compared before it is built, so that numbers in
    a file cannot ask for more memory than the file has tensors. Raises UsageError, listing what is missing, extra,
    misshapen, of another kind or not finite.
    """
    shapes = {key: value for key, value in expected.items() if key in state and state[key].shape != value.shape}
    faults = {
        "missing": sorted(expected.keys() - state.keys()),
        "extra": sorted(state.keys() - expected.keys()),
        "misshapen": [f"{key} {list(state[key].shape)} and not {list(value.shape)}" for key, value in shapes.items()],
    }
    refuse(faults, name)
    check_numbers({key: state[key] for key, value in expected.items() if value.is_floating_point()}, name)
    model = build()
    model.load_state_dict({key: value.float() if value.dtype in FORMATS else value for key, value in state.items()})
    return model.requires_grad_(False)


def check_numbers(state: dict[str, Tensor], name: str) -> None:
    """Raise UsageError for tensors that are not of finite floating-point numbers."""
    other = [key for key, value in state.items() if value.dtype not in FORMATS]
    refuse({"not floating-point": other}, name)
    refuse({"not finite": [key for key, value in state.items() if value.numel() and not is_finite(value)]}, name)


def refuse(faults: Mapping[str, list[str]], name: str) -> None:
    """Raise UsageError if there are any faults: the tensors of a file, by what is wrong."""
    found = [f"{fault}: {_some(keys)}" for fault, keys in faults.items() if keys]
    if found:
        raise UsageError(f"the tensors of {name} do not fit its architecture: {'; '.join(found)}: {FETCH}")


def count(tensors: Mapping[str, Tensor]) -> int:
    """Numbers in all tensors."""
    return sum(math.prod(value.shape) for value in tensors.values())


def _some(keys: list[str]) -> str:
    more = f" and {len(keys) - NAMED} more" if len(keys) > NAMED else ""
    return ", ".join(map(shortened, keys[:NAMED])) + more
