"""The masked autoencoder: normalised pixels of hidden patches, from visible ones only."""

import pytest
import torch
from plain import PLAIN

from openjepa.commands.pretrain import pretrain
from openjepa.config import build_config
from openjepa.errors import UsageError
from openjepa.interop.load import load_encoder
from openjepa.masking.samplers import sample_masks
from openjepa.methods.base import Inputs
from openjepa.methods.mae import MAE
from openjepa.recipe_settings import recipe
from openjepa.runs.images import mask_settings
from openjepa.runs.planning.build_model import build_model

SMALL = {"method": "mae", "image_size": "16", "predictor_depth": 1}


@pytest.fixture
def config():
    return build_config(recipe("laptop"), SMALL)


@pytest.fixture
def model(config) -> MAE:
    return build_model(config)


@pytest.fixture
def masks(config):
    return sample_masks(mask_settings(config), 3, 0, 0)


def test_every_hidden_patch_is_a_target(config, masks):
    assert mask_settings(config).strategy == "random"
    for context, targets in zip(masks.context_ids, masks.target_ids, strict=True):
        assert sorted([*context.tolist(), *targets.flatten().tolist()]) == list(range(16))


def test_targets_are_the_normalised_pixels_of_the_patches(model, masks):
    images = torch.randn(3, 3, 16, 16, dtype=torch.float64)
    targets = model.targets(images, masks.target_ids)
    for image, ids, rows in zip(images, masks.target_ids, targets, strict=True):
        for patch, row in zip(ids[0].tolist(), rows[0], strict=True):
            top, left = 4 * (patch // 4), 4 * (patch % 4)
            pixels = image[:, top : top + 4, left : left + 4].flatten()
            expected = (pixels - pixels.mean()) / (pixels.var(correction=0) + 1e-6).sqrt()
            torch.testing.assert_close(row, expected)


def test_predictions_see_visible_patches_only(model, masks):
    images = torch.randn(3, 3, 16, 16, requires_grad=True)
    model.predict(images, masks.context_ids, masks.target_ids).square().sum().backward()
    seen = torch.nn.functional.pixel_unshuffle(images.grad, 4).flatten(2).abs().sum(1) > 0
    for row, context in zip(seen, masks.context_ids, strict=True):
        assert row.nonzero().flatten().tolist() == context.tolist()


def test_the_loss_is_the_mean_square_over_hidden_patches(model, masks):
    images = torch.randn(3, 3, 16, 16)
    difference = model.predict(images, *masks[:2]) - model.targets(images, masks.target_ids)
    torch.testing.assert_close(model(Inputs(images[None], *masks[:2])), difference.square().mean())


def test_a_run_gives_an_encoder(photos, tmp_path):
    out = pretrain(str(photos), out=tmp_path / "run", steps=3, batch_size=4, workers=0, **SMALL)
    images = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    encoder = load_encoder(out)
    assert encoder.embed(images).shape == (2, 128)
    assert not torch.equal(
        encoder.network.blocks[0].attn.qkv.weight,
        build_model(build_config(PLAIN, SMALL)).context_encoder.blocks[0].attn.qkv.weight,
    )


def test_an_unknown_method_is_refused():
    with pytest.raises(UsageError, match=r"--method mea is not known: known are ijepa, .*; did you mean mae"):
        build_config(PLAIN, {"method": "mea"})
