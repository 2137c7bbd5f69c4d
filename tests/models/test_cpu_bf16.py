"""Linear layers with bias and GELU inside: what torch's own layers give, where no gradient is asked for."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from openjepa.models import cpu_bf16 as fused
from openjepa.models.vit import VisionTransformer


@pytest.fixture
def layer():
    torch.manual_seed(0)
    return nn.Linear(96, 160)


def under_bf16(call):
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        return call()


@pytest.mark.parametrize("shape", [(5, 96), (2, 7, 96)])
def test_it_is_the_layer_to_the_last_bit_and_its_gelu_no_coarser(layer, shape):
    x = torch.randn(shape)
    assert under_bf16(lambda: fused.fuses(x, layer)) == fused.there()  # and without it the layer does the work
    assert torch.equal(under_bf16(lambda: fused.affine(x, layer)), under_bf16(lambda: layer(x)))
    exact = F.gelu(layer(x))
    ours, plain = (under_bf16(call).float() for call in (lambda: fused.affine_gelu(x, layer), lambda: F.gelu(layer(x))))
    assert (ours - exact).abs().mean() <= (plain - exact).abs().mean()


def test_gradients_and_float32_go_through_the_layer_itself(layer):
    x = torch.randn(3, 96)
    assert not fused.fuses(x, layer)
    with torch.autocast("cpu", torch.bfloat16):
        assert not fused.fuses(x, layer)
    with torch.no_grad():
        assert not fused.fuses(x, layer)
        assert torch.equal(fused.affine_gelu(x, layer), F.gelu(layer(x)))


def test_tokens_in_bf16_stay_near_those_in_float32():
    torch.manual_seed(0)
    network, images = VisionTransformer((48, 48), 8, embed_dim=96, depth=12, num_heads=3), torch.randn(2, 3, 48, 48)
    with torch.no_grad():
        exact = network(images)
    halved = under_bf16(lambda: network(images))
    assert ((halved.float() - exact).norm() / exact.norm()) < 0.02


def test_what_is_compiled_is_the_layer_itself(layer, monkeypatch):
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert not under_bf16(lambda: fused.fuses(torch.randn(2, 96), layer))
