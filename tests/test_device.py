"""Precision is chosen by what is faster here, not by what the processor says it can do."""

import os

import pytest
import torch

from openjepa import device as device_module
from openjepa.device import algorithms_restored, choose_device, choose_precision, use_deterministic_algorithms
from openjepa.errors import UsageError


@pytest.mark.parametrize(
    ("bf16_seconds", "chosen"), [(0.1, torch.bfloat16), (0.9, torch.float32), (2.0, torch.float32)]
)
def test_auto_takes_bf16_only_where_it_pays(monkeypatch, bf16_seconds, chosen):
    seconds = {torch.float32: 1.0, torch.bfloat16: bf16_seconds}
    monkeypatch.setattr(device_module, "product_seconds", lambda dtype, side, rounds: seconds)
    assert choose_precision("auto", torch.device("cpu")) == chosen


def test_a_processor_without_bf16_is_not_timed_for_long(monkeypatch):
    """Large products would take seconds there, at the start of every command."""
    sides = []

    def product_seconds(dtype, side, rounds):
        sides.append(side)
        return {torch.float32: 1.0, dtype: 50.0}

    monkeypatch.setattr(device_module, "product_seconds", product_seconds)
    assert choose_precision("auto", torch.device("cpu")) == torch.float32
    assert max(sides) <= 128


def test_a_precision_that_is_named_is_taken_as_it_is(monkeypatch):
    monkeypatch.delattr(device_module, "product_seconds")
    assert choose_precision("bf16", torch.device("cpu")) == torch.bfloat16
    assert choose_precision("float32", torch.device("cpu")) == torch.float32
    with pytest.raises(UsageError, match="float8 is not known: known are auto, bf16, float16, float32"):
        choose_precision("float8", torch.device("cpu"))


@pytest.mark.parametrize(("has_bf16", "chosen"), [(True, torch.bfloat16), (False, torch.float16)])
def test_auto_on_a_gpu_is_of_16_bits(monkeypatch, has_bf16, chosen):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_bf16)
    assert choose_precision("auto", torch.device("cuda")) == chosen


def test_deterministic_operations_end_with_their_context(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    with algorithms_restored():
        use_deterministic_algorithms()
        assert torch.are_deterministic_algorithms_enabled() and os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_device_that_is_not_there_is_refused():
    assert choose_device("cpu") == torch.device("cpu")
    with pytest.raises(UsageError, match="use one of auto"):
        choose_device("abacus")
