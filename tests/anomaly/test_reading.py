"""Pixels are cut into the cells of patches, and what is put side by side comes apart again."""

import pytest
import torch
from support.anomaly_parts import untrained

from openjepa.anomaly.patches import PatchFeatures, PatchSettings
from openjepa.anomaly.reading import Reader, divisions, pixel_cells


@pytest.mark.parametrize(
    ("size", "grid", "cells"), [((16, 24), (2, 3), 4), ((12, 10), (2, 2), 1), ((21, 14), (3, 2), 1)]
)
def test_cells_hold_the_pixels_of_their_patch(size, grid, cells):
    images = torch.rand(2, 3, *size)
    found = pixel_cells(images, grid)
    rows, columns = size[0] // grid[0], size[1] // grid[1]
    assert found.shape[:3] == (2, grid[0] * grid[1], cells)
    for number in range(grid[0] * grid[1]):
        top, left = number // grid[1] * rows, number % grid[1] * columns
        patch = images[:, :, top : top + rows, left : left + columns]
        assert torch.equal(found[:, number].flatten(1).sort().values, patch.flatten(1).sort().values)
        assert torch.equal(found[:, number, 0, 0], patch[:, 0, 0, 0])


def test_eight_bits_are_fractions_and_other_grids_are_resized():
    images = torch.full((1, 1, 30, 31), 51, dtype=torch.uint8)
    found = pixel_cells(images, (4, 4))
    assert found.shape == (1, 16, 4, 16)
    torch.testing.assert_close(found, torch.full_like(found, 0.2))


def test_cells_are_at_least_four_pixels_wide():
    assert [divisions(side) for side in (1, 4, 7, 8, 12, 14, 16, 32)] == [1, 1, 1, 2, 3, 2, 4, 8]


@pytest.mark.parametrize("pixels", [True, False])
def test_readings_come_apart_as_they_were(pixels):
    model = untrained()
    features = PatchFeatures(model, PatchSettings())
    reader = Reader(features, pixels=pixels)
    images = torch.randint(0, 256, (2, 3, 24, 32), dtype=torch.uint8)
    found = reader.split(reader(images))
    torch.testing.assert_close(found.features, features(images))
    assert found.cells.shape == ((2, 48, 1, 48) if pixels else (2, 48, 0, 1)) and not found.energies.any()
    if pixels:
        assert torch.equal(found.cells, pixel_cells(images, model.grid_size))
