"""A step, monitors and features on a pretended GPU: the host does not wait, nothing is float64, MPS has all kernels."""

import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torchgen
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from openjepa.data.batches import Batch
from openjepa.encoder.encoder import Encoder
from openjepa.masking.samplers import sample_masks
from openjepa.masking.settings import MaskSettings
from openjepa.methods.ijepa import IJEPA
from openjepa.models.predictor import Predictor
from openjepa.models.vit import VisionTransformer
from openjepa.training.monitoring import monitors
from openjepa.training.monitoring.monitors import Monitor
from openjepa.training.optimizer import make_optimizer
from openjepa.training.step import Schedule, Stepper

GPU = torch.device("cuda:0")  # also for MPS, which a PyTorch without it cannot pretend
MASKS = MaskSettings((4, 4))
STATISTICS = [0.5] * 3, [0.25] * 3


@functools.cache
def without_mps() -> set[str]:
    """Names of the operations that this PyTorch has kernels of for a CPU and not for MPS."""
    listed = Path(torchgen.__file__).parent / "packaged/ATen/native/native_functions.yaml"
    kernels = {}
    for entry in listed.read_text().split("\n- func: ")[1:]:
        other = re.search(r"structured_delegate: (\S+)", entry)
        keys = ",".join(re.findall(r"^    ([A-Z]\w+(?:, \w+)*):", entry, re.MULTILINE))
        kernels[entry[: entry.index("(")]] = other[1] if other else keys
    keys = {name: kernels.get(found, found) for name, found in kernels.items()}
    return {name for name, found in keys.items() if "CPU" in found and "MPS" not in found and "Composite" not in found}


class Traffic(TorchDispatchMode):
    """Raises RuntimeError where something on the GPU is float64, where a tensor goes from there to the host unless it
    `may_copy`, and for the `kind` mps where an operation has no kernel there."""

    def __init__(self, kind: str = "cuda", may_copy: bool = False) -> None:
        super().__init__()
        self.kind, self.may_copy = kind, may_copy

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        given, made = ([t for t in tree_leaves(x) if isinstance(t, Tensor)] for x in ((args, kwargs), found))
        uses = any(t.device == GPU for t in given)
        if uses and any(t.device.type == "cpu" for t in made) and not self.may_copy:
            raise RuntimeError(f"{func} copies from the GPU to the host")
        if any(t.device == GPU and t.dtype == torch.float64 for t in made):
            raise RuntimeError(f"{func} computes in float64 on the GPU")
        if self.kind == "mps" and uses and func.name().removeprefix("aten::") in without_mps():
            raise RuntimeError(f"{func} has no kernel on MPS")
        return found


class Planted(IJEPA):
    """I-JEPA with a place for a fault in its loss."""

    fault = staticmethod(lambda loss: loss)

    def loss(self, inputs) -> Tensor:
        return self.fault(super().loss(inputs))


@pytest.fixture
def networks() -> IJEPA:
    encoder = VisionTransformer((32, 32), 8, embed_dim=48, depth=2, num_heads=4)
    return Planted(encoder, Predictor((4, 4), 48, dim=24, depth=2, num_heads=4, joint=True))


@pytest.fixture
def learning(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Tensor]]:
    """Tensors have no content, so that the GPU need not exist. The parameters in this list get made-up gradients:
    the engine that computes gradients would need the GPU."""
    parameters: list[Tensor] = []

    def backward(loss: Tensor) -> None:
        for parameter in parameters:
            parameter.grad = torch.empty_like(parameter)

    monkeypatch.setattr(Tensor, "backward", backward)
    before = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield parameters
    torch.__future__.set_overwrite_module_params_on_conversion(before)


@pytest.fixture(params=["cuda", "mps"])
def kind(request, monkeypatch) -> str:
    if request.param == "mps":
        monkeypatch.setattr(monitors, "where_exact", lambda _: torch.device("cpu"))
    return request.param


def stepper_of(networks: IJEPA, learning: list[Tensor]) -> Stepper:
    model = networks.to(GPU)
    learning.extend(p for module in model.learning_modules() for p in module.parameters())
    # Autocast needs a GPU that is there; Muon's products are in bf16 without it.
    optimizer = make_optimizer(model.learning_modules(), "muon", precision=torch.bfloat16)
    return Stepper(model, optimizer, Schedule(10, 1e-3), *STATISTICS, GPU, torch.float32, 3.0)


def batch() -> Batch:
    images = torch.zeros(1, 4, 3, 32, 32, dtype=torch.uint8)
    return Batch(images, sample_masks(MASKS, 4, 0, 0), torch.arange(4), total=4)


def walk(stepper: Stepper, kind: str = "cuda") -> Tensor:
    """A step after the first, which makes the state of the optimizer."""
    stepper(0, batch())
    with Traffic(kind):
        return stepper(1, batch())[0]


def test_a_step_never_waits_for_the_gpu(networks, learning, kind):
    assert walk(stepper_of(networks, learning), kind).device == GPU


def test_monitors_have_kernels_and_need_no_float64(networks, learning, kind, monkeypatch):
    model, images = networks.to(GPU), torch.zeros(2, 8, 3, 32, 32, device=GPU)
    # The results, which have no content here. Reading them is what may make the host wait.
    monkeypatch.setattr(Tensor, "__bool__", lambda result: True)
    monkeypatch.setattr(Tensor, "__float__", lambda result: 1.0)
    monkeypatch.setattr(FakeTensor, "tolist", lambda results: [[1.0, 1.0]] * len(results))
    with Traffic(kind, may_copy=True):
        found = Monitor(images[0], MASKS, 0, more=(images[1],), pairs=images)(model)
    assert {"rank", "positional_fraction", "energy_gap", "ema_distance", "uniformity"} <= found.keys()


def test_features_are_averaged_before_they_leave_the_gpu(networks, learning, kind):
    encoder = Encoder(networks.context_encoder, *STATISTICS, "encoder", GPU)
    images, sizes = torch.zeros(4, 3, 32, 32, dtype=torch.uint8), []

    class Sizes(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            found = func(*args, **(kwargs or {}))
            given = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
            if any(t.device == GPU for t in given):
                sizes.extend(t.numel() for t in tree_leaves(found) if isinstance(t, Tensor) and t.device.type == "cpu")
            return found

    with Traffic(kind, may_copy=True), Sizes():
        assert encoder.features(images).shape == (4, 48)
    assert sizes == [4 * 48]


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (lambda loss: loss * loss.item(), DataDependentOutputException),
        (lambda loss: loss.cpu().to(loss.device), RuntimeError),
        (lambda loss: loss.double().float(), RuntimeError),
        (lambda loss: loss * torch.tensor(loss.detach().numpy()), (RuntimeError, TypeError)),
    ],
    ids=["item", "cpu", "float64", "numpy"],
)
def test_a_planted_fault_is_found(networks, learning, monkeypatch, fault, error):
    monkeypatch.setattr(Planted, "fault", staticmethod(fault))
    with pytest.raises(error):
        walk(stepper_of(networks, learning))


def test_an_operation_that_mps_lacks_is_found(learning):
    x = torch.zeros(4, 3, device=GPU)
    with Traffic("mps"), pytest.raises(RuntimeError, match="has no kernel on MPS"):
        torch.pdist(x)
    with Traffic("cuda"):
        torch.pdist(x)
