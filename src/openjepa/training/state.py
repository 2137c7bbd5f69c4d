"""Everything that a step changes, as named tensors: `model.<name>`, `optimizer.<parameter>.<name>`, `scaler.<name>`.

They are whole even where the processes of a run hold parts, so that any number of processes can continue it.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from openjepa.methods.base import Method
from openjepa.training.distributed import from_first, is_sharded, on_rank_zero, part_like, rank, whole
from openjepa.training.optimizer import load_scale, scale_tensors
from openjepa.training.step import Stepper

MOMENTS = {True: {"step", "momentum"}, False: {"step", "exp_avg", "exp_avg_sq"}}  # of a matrix under Muon, of the rest


def run_tensors(stepper: Stepper) -> dict[str, Tensor]:
    """The tensors of a run on the CPU; {} on ranks other than 0. A collective: all ranks must call it."""
    model = {f"model.{name}": t for name, t in stepper.model.state_dict().items()}
    full = ((name, whole(t)) for name, t in (model | optimizer_tensors(stepper.optimizer)).items())
    found = {name: t.cpu() for name, t in full if rank() == 0}
    return found | scale_tensors(stepper.scaler) if rank() == 0 else {}


def load_tensors(stepper: Stepper, tensors: dict[str, Tensor]) -> None:
    """Restore what `run_tensors` returned, needed on rank 0 only. Raises ValueError where they are of another run."""
    own = {f"model.{name}": t for name, t in stepper.model.state_dict().items()}
    parameters = [p for group in stepper.optimizer.param_groups for p in group["params"]]
    on_rank_zero(lambda: check_tensors(stepper, tensors))

    def place(name: str, tensor: Tensor) -> Tensor:
        room, index, *_ = name.split(".")
        if room == "scaler":
            return tensor
        return part_like(tensor, parameters[int(index)] if room == "optimizer" else own[name])

    placed = from_first(tensors, place)
    model = {name.removeprefix("model."): t for name, t in placed.items() if name.startswith("model.")}
    stepper.model.load_state_dict(model)
    load_optimizer(stepper.optimizer, placed)
    load_scale(stepper.scaler, placed)


def check_tensors(stepper: Stepper, tensors: dict[str, Tensor]) -> None:
    """Raise ValueError unless names and shapes are those of this model and its optimizer."""
    own = {f"model.{name}": t.shape for name, t in stepper.model.state_dict().items()}
    own |= {name: t.shape for name, t in scale_tensors(stepper.scaler).items()}
    check_shapes(tensors, own | optimizer_shapes(stepper.optimizer, tensors))


def optimizer_shapes(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> dict[str, Sequence[int]]:
    """The names and shapes of the optimizer's state for the parameters that have one among stored `tensors`."""
    own: dict[str, Sequence[int]] = {}
    groups = optimizer.param_groups
    trained = [
        (parameter, MOMENTS[group.get("orthogonal", False)]) for group in groups for parameter in group["params"]
    ]
    for number, (parameter, names) in enumerate(trained):
        if f"optimizer.{number}.step" in tensors:  # a parameter that was never trained has no state
            own |= {f"optimizer.{number}.{name}": () if name == "step" else parameter.shape for name in names}
    return own


def check_shapes(tensors: dict[str, Tensor], own: Mapping[str, Sequence[int]]) -> None:
    """Raise ValueError unless tensors have the names and shapes `own`."""
    for name in own.keys() ^ tensors.keys():
        raise ValueError(f"{name} is {'missing' if name in own else 'not of this model'}")
    for name, tensor in tensors.items():
        if tuple(tensor.shape) != tuple(own[name]):
            raise ValueError(f"{name} has the shape {list(tensor.shape)}, not {list(own[name])}")


def whole_model(model: Method, build: Callable[[], Method]) -> Method | None:
    """The model itself or, where it is sharded, a copy on the CPU made by `build`, None on ranks other than 0.

    A collective: all ranks must call it.
    """
    if not is_sharded(model):
        return model
    tensors = {name: whole(t).cpu() for name, t in model.state_dict().items()}
    if rank() > 0:
        return None
    copy = build()
    copy.load_state_dict(tensors)
    return copy


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state as named tensors."""
    state = optimizer.state_dict()["state"]
    return {f"optimizer.{i}.{name}": value for i, values in state.items() for name, value in values.items()}


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Restore what `optimizer_tensors` returned."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".")
            state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
