"""Several draws of masks for an image: the same loss as the image several times, for fewer passes."""

import pytest
import torch
from plain import PLAIN

from openjepa.config import build_config
from openjepa.data.batches import Batches
from openjepa.data.open import open_dataset
from openjepa.masking.samplers import sample_masks
from openjepa.methods.base import Inputs
from openjepa.runs.images import mask_settings
from openjepa.runs.planning.build_model import build_model


@pytest.mark.parametrize("method", ["ijepa", "hybrid", "mae"])
def test_two_draws_of_an_image_are_the_image_twice(method):
    config = build_config(PLAIN, {"method": method, "image_size": 16, "masks_per_image": 2})
    network, images = build_model(config), torch.randn(3, 3, 16, 16)
    context_ids, target_ids, _ = sample_masks(mask_settings(config), 3 * 2, 0, 0)
    once = network(Inputs(images[None], context_ids, target_ids))
    torch.testing.assert_close(once, network(Inputs(images.repeat_interleave(2, 0)[None], context_ids, target_ids)))


def test_they_share_one_pass_of_the_target_encoder():
    network, seen = build_model(build_config(PLAIN, {"image_size": 16})), []
    network.target_encoder.register_forward_hook(lambda _module, inputs, _output: seen.append(len(inputs[0])))
    settings = mask_settings(build_config(PLAIN, {"image_size": 16}))
    network(Inputs(torch.randn(1, 3, 3, 16, 16), *sample_masks(settings, 3 * 4, 0, 0)[:2]))
    assert seen == [3]


def test_a_batch_has_the_draws_of_an_image_one_after_the_other():
    config = build_config(PLAIN, {"batch_size": 3, "masks_per_image": 2})
    batch = Batches(open_dataset("scenes:5"), mask_settings(config), config.size, config.crop_scale, 3, seed=0)[7]
    assert len(batch.images) == 3
    assert torch.equal(batch.masks.target_ids, sample_masks(mask_settings(config), 6, 0, 7).target_ids)


def test_a_batch_has_no_more_parts_than_images():
    config = build_config(PLAIN, {"batch_size": 3, "masks_per_image": 2})
    batch = Batches(open_dataset("scenes:5"), mask_settings(config), config.size, config.crop_scale, 3, seed=0)[0]
    parts = batch.split(5)
    assert [len(part.images) for part in parts] == [1, 1, 1]
    assert torch.equal(torch.cat([part.masks.context_ids for part in parts]), batch.masks.context_ids)
