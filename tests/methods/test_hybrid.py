"""Representations and pixels predicted together: each part is what the pure method has."""

import torch
from plain import PLAIN

from openjepa.config import build_config
from openjepa.masking.samplers import sample_masks
from openjepa.methods.base import Inputs
from openjepa.runs.images import mask_settings
from openjepa.runs.planning.build_model import build_model

SMALL = {"image_size": "16", "predictor_depth": 1, "masks": "random"}


def built(method):
    return build_model(build_config(PLAIN, SMALL | {"method": method}))


def batch():
    torch.manual_seed(0)
    masks = sample_masks(mask_settings(build_config(PLAIN, SMALL)), 3, 0, 0)
    return torch.randn(3, 3, 16, 16), *masks[:2]


def test_targets_are_those_of_both_methods():
    images, _, target_ids = batch()
    both, ijepa, mae = (built(name).targets(images, target_ids) for name in ("hybrid", "ijepa", "mae"))
    torch.testing.assert_close(both, torch.cat([ijepa, mae], dim=-1))


def test_the_loss_is_the_sum_and_only_the_student_learns():
    model, (images, context_ids, target_ids) = built("hybrid"), batch()
    predicted, targets = model.predict(images, context_ids, target_ids), model.targets(images, target_ids)
    latent = torch.nn.functional.smooth_l1_loss(predicted[..., :128], targets[..., :128])
    pixels = (predicted[..., 128:] - targets[..., 128:]).square().mean()
    loss = model(Inputs(images[None], context_ids, target_ids))
    torch.testing.assert_close(loss, latent + pixels)
    loss.backward()
    assert all(p.grad is not None for p in model.predictor.parameters())
    assert all(p.grad is None for p in model.target_encoder.parameters())
