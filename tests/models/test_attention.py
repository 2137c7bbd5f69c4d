"""The kernel of attention is chosen by time at the shapes of a step; a CPU and deterministic runs keep PyTorch's."""

import dataclasses
import math

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention as sdpa

from openjepa.config import build_config
from openjepa.data.open import open_dataset
from openjepa.models import attention
from openjepa.models.attention import attention_by, attention_calls, attention_seconds, fastest
from openjepa.runs.planning.build import build_batches, build_stepper, calls_in_step, draft

CPU = torch.device("cpu")
TINY = {"image_size": 16, "batch_size": 4, "steps": 2, "device": "cpu", "precision": "float32", "recipe": None}
STATISTICS = [0.5] * 3, [0.25] * 3


@pytest.mark.parametrize(
    ("seconds", "kernel"),
    [
        ({"default": 0.60, "flash": 0.44, "efficient": 0.47, "cudnn": 0.60}, "flash"),
        ({"default": 0.60, "flash": math.inf, "efficient": math.inf, "cudnn": 0.50}, "cudnn"),
        ({"default": 0.45, "flash": 0.44, "efficient": 0.47, "cudnn": 0.60}, None),  # within what repeats differ by
        (dict.fromkeys(("default", "flash", "efficient", "cudnn"), math.inf), None),
    ],
)
def test_another_kernel_than_pytorchs_must_be_clearly_faster(seconds, kernel):
    assert fastest(seconds) == kernel


def test_kernels_are_timed_over_all_calls_and_may_be_missing(monkeypatch):
    q = torch.randn(2, 5, 3, 8, requires_grad=True).transpose(1, 2)
    calls = attention_calls(lambda: [sdpa(q, q, q), sdpa(q, q, q), sdpa(q.detach(), q, q)])
    assert sorted(calls.values()) == [1, 2]
    assert {(call.sizes[0], call.strides[0], call.learns) for call in calls} == {
        ((2, 3, 5, 8), (120, 8, 24, 1), True),
        ((2, 3, 5, 8), (120, 8, 24, 1), False),
    }
    backward, ran = [], []
    monkeypatch.setattr(torch.autograd, "grad", lambda *given: backward.append(given))

    def seconds_of(call):
        if len(ran) == 4:
            raise RuntimeError("No available kernel. Aborting execution.")
        ran.append(call)
        call()
        return float(len(ran))

    monkeypatch.setattr(attention, "KERNELS", {"flash": SDPBackend.MATH, "efficient": SDPBackend.MATH})
    found = attention_seconds(calls, CPU, seconds_of)
    first, second = calls.values()
    per_call = [n / attention.REPEATS for n in range(1, 5)]
    assert found["default"] == pytest.approx(first * per_call[0] + second * per_call[1])
    assert found["flash"] == pytest.approx(first * per_call[2] + second * per_call[3])
    assert found["efficient"] == math.inf
    assert len(backward) == 2 * attention.REPEATS  # of the calls that learn, by both kernels


def test_within_the_context_the_kernel_comes_first_and_afterwards_all_is_as_before():
    before = torch._C._get_sdp_priority_order()
    with attention_by("cudnn"):
        order = torch._C._get_sdp_priority_order()
        assert SDPBackend(order[0]) == SDPBackend.CUDNN_ATTENTION
        assert torch.backends.cuda.math_sdp_enabled()
    with attention_by(None):
        assert torch._C._get_sdp_priority_order() == before
    assert torch._C._get_sdp_priority_order() == before


def test_the_calls_of_a_step_are_counted_and_change_nothing(photos):
    config = build_config({}, {name: value for name, value in TINY.items() if value is not None})
    batches = build_batches(open_dataset(str(photos)), config)
    stepper = build_stepper(config, 2, *STATISTICS)
    before = {name: value.clone() for name, value in stepper.model.state_dict().items()}
    calls = calls_in_step(dataclasses.replace(stepper, accumulate=2), batches[0])
    assert {call.sizes[0][0] for call in calls} == {2, 2 * config.masks_per_image}  # half of the images, and masks
    assert {call.learns for call in calls} == {True, False}  # context encoder and predictor, target encoder
    assert stepper.model.training and all(p.grad is None for p in stepper.model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in stepper.model.state_dict().items())


def test_every_kernel_of_a_step_is_the_chosen_one(photos):
    config = build_config({}, {name: value for name, value in TINY.items() if value is not None})
    dataset = open_dataset(str(photos))
    blueprint = draft(config, dataset, *STATISTICS)
    assert blueprint.stepper(2).attention is None  # on a CPU nothing is timed or changed
    seen = []

    class Seen(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            if func is sdpa:
                seen.append(SDPBackend(torch._C._get_sdp_priority_order()[0]))
            return func(*args, **(kwargs or {}))

    stepper = dataclasses.replace(blueprint.stepper(2), attention="efficient")
    with sdpa_kernel(SDPBackend.MATH), Seen():
        stepper(0, blueprint.batches[0])
    assert seen and set(seen) == {SDPBackend.EFFICIENT_ATTENTION}
