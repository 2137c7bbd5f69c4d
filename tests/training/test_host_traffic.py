"""A step, the monitors and features on a pretended GPU: the host never waits for the device, and nothing is float64."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from openjepa.data.batches import Batch
from openjepa.encoder.encoder import Encoder
from openjepa.masking.samplers import sample_masks
from openjepa.masking.settings import MaskSettings
from openjepa.methods.ijepa import IJEPA
from openjepa.models.predictor import Predictor
from openjepa.models.vit import VisionTransformer
from openjepa.training.optimizer import make_optimizer
from openjepa.training.step import Schedule, Stepper

GPU = torch.device("cuda:0")
MASKS = MaskSettings((4, 4))
STATISTICS = [0.5] * 3, [0.25] * 3


class Traffic(TorchDispatchMode):
    """Raises RuntimeError where a tensor goes from the GPU to the host, or where one on the GPU is float64."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        given, made = ([t for t in tree_leaves(x) if isinstance(t, Tensor)] for x in ((args, kwargs), found))
        if any(t.device == GPU for t in given) and any(t.device.type == "cpu" for t in made):
            raise RuntimeError(f"{func} copies from the GPU to the host")
        if any(t.device == GPU and t.dtype == torch.float64 for t in made):
            raise RuntimeError(f"{func} computes in float64 on the GPU")
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


def stepper_of(networks: IJEPA, learning: list[Tensor]) -> Stepper:
    model = networks.to(GPU)
    learning.extend(p for module in model.learning_modules() for p in module.parameters())
    # Autocast needs a GPU that is there; Muon's products are in bf16 without it.
    optimizer = make_optimizer(model.learning_modules(), "muon", precision=torch.bfloat16)
    return Stepper(model, optimizer, Schedule(10, 1e-3), *STATISTICS, GPU, torch.float32, 3.0)


def batch() -> Batch:
    images = torch.zeros(1, 4, 3, 32, 32, dtype=torch.uint8)
    return Batch(images, sample_masks(MASKS, 4, 0, 0), torch.arange(4), total=4)


def walk(stepper: Stepper) -> Tensor:
    """A step after the first, which makes the state of the optimizer."""
    stepper(0, batch())
    with Traffic():
        return stepper(1, batch())[0]


def test_a_step_never_waits_for_the_gpu(networks, learning):
    assert walk(stepper_of(networks, learning)).device == GPU


def test_features_are_averaged_before_they_leave_the_gpu(networks, learning):
    encoder = Encoder(networks.context_encoder, *STATISTICS, "encoder", GPU)
    images, sizes = torch.zeros(4, 3, 32, 32, dtype=torch.uint8), []

    class Sizes(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            found = func(*args, **(kwargs or {}))
            given = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
            if any(t.device == GPU for t in given):
                sizes.extend(t.numel() for t in tree_leaves(found) if isinstance(t, Tensor) and t.device.type == "cpu")
            return found

    with Sizes():
        assert encoder.features(images).shape == (4, 48)
    assert sizes == [4 * 48]


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (lambda loss: loss * loss.item(), DataDependentOutputException),
        (lambda loss: loss.cpu().to(GPU), RuntimeError),
        (lambda loss: loss.double().float(), RuntimeError),
        (lambda loss: loss * torch.tensor(loss.detach().numpy()), (RuntimeError, TypeError)),
    ],
    ids=["item", "cpu", "float64", "numpy"],
)
def test_a_planted_fault_is_found(networks, learning, monkeypatch, fault, error):
    monkeypatch.setattr(Planted, "fault", staticmethod(fault))
    with pytest.raises(error):
        walk(stepper_of(networks, learning))
