"""Planted defects are small regions, light changes whole images, and both are functions of a seed."""

import pytest
import torch

from openjepa.anomaly.fitting.planted import planted, relit


def images(dtype):
    values = torch.rand(24, 3, 40, 56, generator=torch.Generator().manual_seed(0)) * 200
    return values.to(dtype) if dtype == torch.uint8 else values - 50


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_defects_change_a_small_region_of_every_image(dtype):
    before = images(dtype)
    kept = before.clone()
    after = planted(before, 3)
    changed = (after != before).any(dim=1).float().mean(dim=(1, 2))
    assert after.dtype == dtype and after.isfinite().all() and torch.equal(before, kept)
    assert changed.min() > 0 and changed.max() < 0.12
    assert torch.equal(after, planted(before, 3)) and not torch.equal(after, planted(before, 4))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_light_changes_whole_images_and_keeps_what_is_in_them(dtype):
    before = images(dtype)
    after = relit(before, 3)
    assert after.dtype == dtype and torch.equal(after, relit(before, 3)) and not torch.equal(after, relit(before, 4))
    assert (after != before).float().mean(dim=(1, 2, 3)).min() > 0.5
    for one, other in zip(before.float().flatten(2).flatten(0, 1), after.float().flatten(2).flatten(0, 1), strict=True):
        assert torch.corrcoef(torch.stack([one, other]))[0, 1] > 0.95


@pytest.mark.parametrize("seed", [-1, 10**30])
def test_any_whole_number_is_a_seed(seed):
    before = images(torch.uint8)
    assert torch.equal(planted(before, seed), planted(before, seed % 2**64))
    assert torch.equal(relit(before, seed), relit(before, seed % 2**64))
