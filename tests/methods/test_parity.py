"""Our core against the published code: values, gradients and a 12-step training run at a tiny size, in float32."""

import json

import pytest
import torch
from safetensors.torch import load_file

from openjepa.methods.base import Inputs
from openjepa.methods.ijepa import IJEPA
from openjepa.models.predictor import Predictor
from openjepa.models.vit import VisionTransformer
from openjepa.training import schedules
from openjepa.training.optimizer import make_optimizer, set_schedule


def our_names(state: dict, drop: str = "predictor_") -> dict:
    state = {name.removeprefix("module.").removeprefix(drop): value for name, value in state.items()}
    return {name: value for name, value in state.items() if name != "pos_embed"}


@pytest.fixture
def io(shared) -> dict:
    return load_file(shared / "parity/official_tiny_io.safetensors")


@pytest.fixture
def published(shared) -> dict:
    return torch.load(shared / "parity/official_tiny.pth.tar", weights_only=True)


@pytest.fixture
def model(published) -> IJEPA:
    encoder = VisionTransformer((64, 64), 8, embed_dim=48, depth=3, num_heads=4)
    ijepa = IJEPA(encoder, Predictor((8, 8), 48, dim=24, depth=2, num_heads=4))
    ijepa.context_encoder.load_state_dict(our_names(published["encoder"]))
    ijepa.target_encoder.load_state_dict(our_names(published["target_encoder"]))
    ijepa.predictor.load_state_dict(our_names(published["predictor"]))
    return ijepa


def inputs(io: dict, step: int) -> Inputs:
    return Inputs(io["images"][step][None], io["context_ids"][step], io["target_ids"][step])


def largest_difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    assert ours.shape == theirs.shape
    return (ours - theirs).abs().max().item()


def test_position_codes_are_the_published_ones(model, published):
    theirs = published["encoder"]["module.pos_embed"][0]
    assert largest_difference(model.context_encoder.pos_embed, theirs) < 1e-6
    theirs = published["predictor"]["module.predictor_pos_embed"][0]
    assert largest_difference(model.predictor.pos_embed, theirs) < 1e-6


def test_outputs(model, io):
    images, context_ids, target_ids = io["images"][0], io["context_ids"][0], io["target_ids"][0]
    assert largest_difference(model.target_encoder(images), io["target_encoder_output"]) < 1e-5
    assert largest_difference(model.context_encoder(images), io["context_encoder_full_output"]) < 1e-5
    assert largest_difference(model.context_encoder(images, context_ids), io["context_encoder_output"]) < 1e-5
    assert largest_difference(model.targets(images, target_ids), io["targets"]) < 1e-5
    assert largest_difference(model.predict(images, context_ids, target_ids), io["predictor_output"]) < 1e-5


def test_gradients(model, io):
    model(inputs(io, 0)).backward()
    for ours, theirs in [
        (model.context_encoder.patch_embed.proj.weight.grad, io["grad_patch_embed"]),
        (model.predictor.mask_token.grad, io["grad_mask_token"]),
    ]:
        assert largest_difference(ours, theirs) / theirs.abs().max() < 1e-4
    assert all(p.grad is None for p in model.target_encoder.parameters())


def test_trajectory(model, io, shared):
    reference = json.loads((shared / "parity/official_tiny_trajectory.json").read_text())
    config, trajectory = reference["config"], reference["trajectory"]
    steps = config["total_steps"]
    optimizer = make_optimizer(model.learning_modules())
    for step in range(steps):
        lr = schedules.learning_rate(
            step, steps, config["warmup_steps"], config["start_lr"], config["lr"], config["final_lr"]
        )
        decay = schedules.weight_decay(step, steps, config["weight_decay"], config["final_weight_decay"])
        momentum = schedules.ema_momentum(step, steps, *config["ema"])
        assert lr == pytest.approx(trajectory["lr"][step], rel=1e-4)
        assert decay == pytest.approx(trajectory["weight_decay"][step], rel=1e-4)
        assert momentum == pytest.approx(trajectory["ema"][step], rel=1e-4)
        set_schedule(optimizer, lr, decay)
        loss = model(inputs(io, step))
        assert loss.item() == pytest.approx(trajectory["loss"][step], rel=1e-4)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        model.update_target_encoder(momentum)
    assert largest_difference(model.context_encoder.patch_embed.proj.weight, io["final_patch_embed"]) < 1e-4
    assert largest_difference(model.target_encoder.blocks[2].attn.qkv.weight, io["final_target_block2_qkv"]) < 1e-4
    assert largest_difference(model.predictor.proj.weight, io["final_predictor_proj"]) < 1e-4
