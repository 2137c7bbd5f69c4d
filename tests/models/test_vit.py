"""The transformer beyond the published sizes: subsets, rectangles, channels, resolutions."""

import pytest
import torch
import torch.nn.functional as F

from openjepa.methods.energy import energy, energy_gap
from openjepa.methods.ijepa import IJEPA
from openjepa.models.predictor import Predictor
from openjepa.models.vit import VisionTransformer, attend, patchify, sincos_positions, take


def tiny(image_size=(16, 24), patch_size=4, **arguments):
    torch.manual_seed(0)
    return VisionTransformer(image_size, patch_size, embed_dim=16, depth=2, num_heads=2, **arguments)


def test_patches_are_cut_as_a_convolution_would():
    vit, images = tiny(in_chans=5), torch.randn(2, 5, 16, 24)
    by_convolution = vit.patch_embed.proj(images).flatten(2).transpose(1, 2)
    torch.testing.assert_close(vit.patch_embed(patchify(images, 4)), by_convolution)


def test_an_image_seen_whole_in_any_order_is_the_same():
    vit, images = tiny(), torch.randn(2, 3, 16, 24)
    order = torch.stack([torch.randperm(24), torch.randperm(24)])
    torch.testing.assert_close(vit(images, order), take(vit(images), order), atol=1e-5, rtol=1e-5)


def test_hidden_patches_do_not_reach_the_context():
    vit, images = tiny(), torch.randn(2, 3, 16, 24)
    ids = torch.tensor([[0, 7, 9], [3, 4, 23]])
    changed = images.clone()
    hidden = torch.ones(2, 24, dtype=torch.bool).scatter(1, ids, False).view(2, 1, 4, 6)
    changed += 10 * hidden.repeat_interleave(4, 2).repeat_interleave(4, 3)
    assert torch.equal(vit(images, ids), vit(changed, ids))


def test_positions_lie_on_the_same_extent_at_any_resolution():
    native = sincos_positions((4, 6), 16)
    assert torch.equal(sincos_positions((4, 6), 16, native_size=(4, 6)), native)
    twice = sincos_positions((12, 18), 16, native_size=(4, 6)).view(12, 18, 16)
    torch.testing.assert_close(twice[1::3, 1::3].flatten(0, 1), native, atol=1e-6, rtol=0)
    assert tiny()(torch.randn(1, 3, 32, 40)).shape == (1, 80, 16)
    with pytest.raises(ValueError, match="divisible by 4"):
        sincos_positions((2, 2), 6)


def test_unit_initialisation_gives_tokens_of_unit_variance():
    pixels = torch.randn(512, 3, 8, 8).cumsum(-1).cumsum(-2)  # neighbouring pixels alike, as in photographs
    pixels = (pixels - pixels.mean()) / pixels.std()
    for patch_size in (2, 4, 8):
        torch.manual_seed(0)
        unit, published = (
            VisionTransformer((8, 8), patch_size, embed_dim=256, depth=0, num_heads=1, weight_init=init)
            for init in ("unit", "published")
        )
        tokens = [vit.patch_embed(patchify(pixels, patch_size)).std().item() for vit in (unit, published)]
        assert tokens[0] == pytest.approx(1.0, abs=0.15)
        assert tokens[1] == pytest.approx(0.02 * (3 * patch_size**2) ** 0.5, rel=0.2)


def test_unit_initialisation_keeps_the_variance_through_the_blocks():
    torch.manual_seed(0)
    tokens = torch.randn(64, 16, 128)
    for depth in (2, 8):
        vit = VisionTransformer((16, 16), 4, embed_dim=128, depth=depth, num_heads=4)
        added = torch.nn.Sequential(*vit.blocks)(tokens) - tokens
        assert 0.3 < added.std() < 1.5, depth
        small = VisionTransformer((16, 16), 4, embed_dim=128, depth=depth, num_heads=4, weight_init="published")
        assert (torch.nn.Sequential(*small.blocks)(tokens) - tokens).std() < 0.2, depth


def test_a_patch_must_divide_the_image():
    with pytest.raises(ValueError, match="does not divide"):
        tiny(image_size=(16, 18))


@pytest.mark.parametrize("grads", [True, False])
@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_both_attention_paths_agree(grads, dtype, close):
    q, k, v = torch.randn(3, 2, 4, 9, 8).to(dtype).requires_grad_(grads).unbind(0)
    torch.testing.assert_close(attend(q, k, v), F.scaled_dot_product_attention(q, k, v), rtol=close, atol=close)


def model(blocks=3):
    vit = tiny()
    return IJEPA(vit, Predictor(vit.grid_size, 16, dim=8, depth=2, num_heads=2)), torch.randn(4, 3, 16, 24)


def test_target_blocks_do_not_see_each_other():
    ijepa, images = model()
    context_ids = torch.arange(5).expand(4, -1)
    target_ids = torch.tensor([[6, 7, 8], [12, 13, 14], [18, 19, 20]]).expand(4, -1, -1)
    together = ijepa.predict(images, context_ids, target_ids)
    for block in range(3):
        alone = ijepa.predict(images, context_ids, target_ids[:, block : block + 1])
        torch.testing.assert_close(together[:, block : block + 1], alone, atol=1e-6, rtol=1e-5)


def test_targets_see_the_whole_image_and_give_no_gradient():
    ijepa, images = model()
    target_ids = torch.tensor([[6, 7]]).expand(4, 1, -1)
    before = ijepa.targets(images, target_ids)
    assert not before.requires_grad
    torch.testing.assert_close(before.mean(-1), torch.zeros(4, 1, 2), atol=1e-5, rtol=0)
    torch.testing.assert_close(before.var(-1, correction=0), torch.ones(4, 1, 2), atol=1e-2, rtol=0)
    images[:, :, -4:, -4:] += 5  # a patch that is no target
    assert not torch.allclose(before, ijepa.targets(images, target_ids))


def test_the_target_encoder_follows_the_context_encoder():
    ijepa, _ = model()
    with torch.no_grad():
        for parameter in ijepa.context_encoder.parameters():
            parameter.add_(1.0)
    before = [p.clone() for p in ijepa.target_encoder.parameters()]
    ijepa.update_target_encoder(0.75)
    for old, new in zip(before, ijepa.target_encoder.parameters(), strict=True):
        torch.testing.assert_close(new, old + 0.25)


def test_energy_gap_is_one_for_certainty_and_zero_for_ignorance():
    targets = torch.randn(16, 2, 3, 8)
    assert energy(targets, targets).abs().max() == 0
    assert energy_gap(targets, targets) == 1
    assert energy_gap(targets.mean(0, keepdim=True).expand_as(targets), targets).abs() < 1e-5
