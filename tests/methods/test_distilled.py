"""Distillation: the targets are the teacher's, the teacher is no part of the method, and the student learns them."""

import copy

import pytest
import torch
import torch.nn.functional as F

from openjepa.encoder.baselines import seeded
from openjepa.methods.base import Inputs
from openjepa.methods.distilled import Distilled

SETTINGS = {"predictor_dim": 32, "predictor_depth": 1, "predictor_heads": 2, "target_sequences": "joint"}
SHAPE = {"image_size": (16, 16), "patch_size": 4, "depth": 1, "num_heads": 2}


class Frozen:
    """A teacher that is wider than the student."""

    embed_dim = 48

    def __init__(self):
        self.network = seeded(1, **SHAPE, embed_dim=48).requires_grad_(False)

    def __call__(self, images):
        return self.network(images)

    def __deepcopy__(self, memo):
        return self


def made():
    torch.manual_seed(0)
    return Distilled.build(seeded(0, **SHAPE, embed_dim=32), teacher=Frozen(), **SETTINGS)


def batch():
    generator = torch.Generator().manual_seed(0)
    order = torch.rand(8, 16, generator=generator).argsort(1)
    images = torch.randn(1, 8, 3, 16, 16, generator=generator)
    return Inputs(images, order[:, :6], order[:, None, 6:12])


def test_targets_are_the_normalised_tokens_of_the_teacher():
    method, inputs = made(), batch()
    tokens = method.teacher(inputs.images)
    expected = torch.stack([tokens[row, ids] for row, ids in enumerate(inputs.target_ids)])
    assert torch.allclose(method.targets(inputs.images, inputs.target_ids), F.layer_norm(expected, (48,)))
    predicted = method.predict(inputs.images, *inputs.masks)
    assert predicted.shape == (8, 1, 6, 48)
    targets = method.targets(inputs.images, inputs.target_ids)
    assert torch.allclose(method(inputs), F.smooth_l1_loss(predicted, targets))


def test_the_teacher_is_no_part_of_the_method_and_stays_as_it_is():
    method, inputs = made(), batch()
    before = copy.deepcopy(method.teacher.network.state_dict())
    assert {name.split(".")[0] for name in method.state_dict()} == {"context_encoder", "predictor"}
    assert method.encoder is method.context_encoder and not method.has_target_encoder
    optimizer = torch.optim.AdamW([p for m in method.learning_modules() for p in m.parameters()], lr=3e-3)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        losses.append(method(inputs))
        losses[-1].backward()
        optimizer.step()
        method.after_step({"lr": 0.0, "weight_decay": 0.0, "ema_momentum": 0.9})
    assert losses[-1] < 0.7 * losses[0]
    assert all(torch.equal(value, before[name]) for name, value in method.teacher.network.state_dict().items())
    assert copy.deepcopy(method).teacher is method.teacher


def test_without_a_teacher_it_is_refused():
    with pytest.raises(ValueError, match="needs a teacher"):
        Distilled.build(seeded(0, **SHAPE, embed_dim=32), **SETTINGS)
