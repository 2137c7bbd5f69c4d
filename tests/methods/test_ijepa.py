"""What the settings of I-JEPA promise: targets of unit variance, and predictions that see what they may."""

import pytest
import torch

from openjepa.methods.ijepa import IJEPA
from openjepa.models.predictor import Predictor
from openjepa.models.vit import VisionTransformer


def model(joint=False):
    torch.manual_seed(0)
    encoder = VisionTransformer((16, 16), 4, embed_dim=32, depth=2, num_heads=2)
    return IJEPA(encoder, Predictor((4, 4), 32, dim=16, depth=1, num_heads=2, joint=joint))


def test_targets_have_zero_mean_and_unit_variance():
    images, everywhere = torch.randn(64, 3, 16, 16), torch.arange(16).expand(64, 1, -1)
    targets = model().targets(images, everywhere)
    assert targets.mean(3).abs().max() < 1e-5
    torch.testing.assert_close(targets.var(3, correction=0), torch.ones(64, 1, 16), atol=1e-3, rtol=0)


@pytest.mark.parametrize("joint", [False, True])
def test_a_block_sees_the_others_only_if_predicted_jointly(joint):
    ijepa, images = model(joint), torch.randn(1, 3, 16, 16)
    context_ids = torch.tensor([[0, 1]])
    first, other = torch.tensor([4, 5]), torch.tensor([10, 11])
    pairs = [torch.stack([first, second])[None] for second in (other, other + 1)]
    one, two = (ijepa.predict(images, context_ids, target_ids)[0, 0] for target_ids in pairs)
    assert torch.allclose(one, two, atol=1e-6) != joint


def test_one_block_is_the_same_in_one_sequence_or_its_own():
    images, context_ids, target_ids = (
        torch.randn(2, 3, 16, 16),
        torch.tensor([[0, 1]] * 2),
        torch.tensor([[[6, 7]]] * 2),
    )
    one, two = (model(joint).predict(images, context_ids, target_ids) for joint in (False, True))
    torch.testing.assert_close(one, two)
