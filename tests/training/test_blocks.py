"""Without a compiler a run goes on as it is, and says so."""

import pytest
import torch
from ranks import small_model

import openjepa
from openjepa.training.blocks import blocks_of, compile_blocks, no_compiler


@pytest.fixture
def compilerless(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise RuntimeError("no C++ compiler was found\nlong story")

    monkeypatch.setattr(torch, "compile", refuse)


def test_why_nothing_is_compiled_is_said_in_a_line(compilerless):
    assert no_compiler(torch.device("cpu")) == "torch.compile does not work here (no C++ compiler was found)"


def test_every_block_is_compiled(monkeypatch):
    model, compiled = small_model(), []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda block: compiled.append(block))
    compile_blocks(model)
    assert len(compiled) == 5 and set(compiled) == set(blocks_of(model))


def test_a_run_without_a_compiler_says_so_once(compilerless, photos, tmp_path, capsys):
    settings = {"image_size": 16, "batch_size": 5, "predictor_depth": 1, "workers": 0, "precision": "float32"}
    openjepa.pretrain(str(photos), out=tmp_path / "run", steps=1, compile=True, **settings)
    assert capsys.readouterr().out.count("running without --compile: torch.compile does not work here") == 1
