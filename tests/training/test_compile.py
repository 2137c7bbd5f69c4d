"""Without a compiler a run goes on as it is, and says so."""

import functools

import pytest
import torch
from support.processes import small_model
from torch._dynamo.utils import counters

import openjepa
from openjepa.methods.base import Inputs
from openjepa.models.protocol import evaluating
from openjepa.training.compile import blocks_of, checkpoint_activations, compile_blocks, no_compiler


@pytest.fixture
def compilerless(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise RuntimeError("no C++ compiler was found\nlong story")

    monkeypatch.setattr(torch, "compile", refuse)


def test_why_nothing_is_compiled_is_said_in_a_line(compilerless):
    assert no_compiler(torch.device("cpu")) == "torch.compile does not work here (no C++ compiler was found)"


def test_compiled_and_checkpointed_blocks_give_the_same_gradients(monkeypatch):
    """Traced for real, by a backend that needs no compiler."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    counters.clear()
    eager, model = small_model(), small_model()
    compile_blocks(model)
    checkpoint_activations(model)
    images, context, targets = torch.randn(3, 3, 16, 16), torch.arange(4).expand(3, 4), torch.arange(9, 12)
    for each in (eager, model):
        each(Inputs(images[None], context, targets.expand(3, 1, 3))).backward()
    assert counters["stats"]["unique_graphs"] >= 3 and not counters["graph_break"]
    for ours, plain in zip(model.parameters(), eager.parameters(), strict=True):
        assert plain.grad is None or torch.allclose(ours.grad, plain.grad, atol=1e-6)


def test_only_training_is_compiled(monkeypatch):
    """Monitors and probes have other shapes than training: compiled too, they would use up the compiler's cache."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    model, images = small_model(), torch.randn(3, 3, 16, 16)
    compile_blocks(model)
    counters.clear()
    with evaluating(model):
        tokens = [model.encoder(images[:count]) for count in (1, 2, 3)]
    assert counters["stats"]["unique_graphs"] == 0
    assert torch.allclose(tokens[2], model.encoder(images), atol=1e-6) and counters["stats"]["unique_graphs"] == 1


def test_a_run_without_a_compiler_says_so_once(compilerless, photos, tmp_path, capsys):
    settings = {"image_size": 16, "batch_size": 5, "predictor_depth": 1, "workers": 0, "precision": "float32"}
    openjepa.pretrain(str(photos), out=tmp_path / "run", steps=1, compile=True, **settings)
    assert capsys.readouterr().out.count("running without --compile: torch.compile does not work here") == 1


def test_the_blocks_of_all_networks_are_found():
    """Also on Python 3.12 and later, where isinstance with a protocol does not see the children of a module."""
    model = small_model()
    assert len(model.networks()) == 3
    assert blocks_of(model) == [b for n in model.children() for b in n.blocks]
