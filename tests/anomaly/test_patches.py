"""Patch features: local means, and what lighting does to them."""

import numpy as np
import pytest
import torch

from openjepa.anomaly.patches import WIDEST, orthogonal, pooled, within_image


def test_each_patch_is_the_mean_of_its_neighbours_that_lie_in_the_image():
    tokens = torch.randn(2, 20, 3, generator=torch.Generator().manual_seed(0))
    found, maps = pooled(tokens, (4, 5), 3).view(2, 4, 5, 3), tokens.view(2, 4, 5, 3)
    for row, column in ((0, 0), (1, 2), (3, 4), (2, 0)):
        around = maps[:, max(0, row - 1) : row + 2, max(0, column - 1) : column + 2]
        torch.testing.assert_close(found[:, row, column], around.mean(dim=(1, 2)))
    assert pooled(tokens, (4, 5), 1) is tokens


def test_features_standardised_within_an_image_do_not_change_with_its_gain_and_offset():
    tokens = torch.randn(2, 20, 6, generator=torch.Generator().manual_seed(1))
    changed = tokens * torch.tensor([0.5, 3.0]).view(2, 1, 1) + torch.tensor([2.0, -1.0]).view(2, 1, 1)
    torch.testing.assert_close(within_image(changed), within_image(tokens), rtol=1e-4, atol=1e-4)
    assert within_image(tokens).mean(dim=1).abs().max() < 1e-5


def test_the_projection_of_wide_features_is_orthogonal_and_always_the_same():
    matrix = orthogonal(600, WIDEST)
    np.testing.assert_allclose(matrix.T @ matrix, np.eye(WIDEST), atol=1e-5)
    assert torch.equal(matrix, orthogonal(600, WIDEST))
    one = torch.randn(600, generator=torch.Generator().manual_seed(2))
    assert float((one @ matrix).norm() / one.norm()) == pytest.approx((WIDEST / 600) ** 0.5, rel=0.15)
