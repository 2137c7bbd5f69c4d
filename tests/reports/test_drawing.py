"""Pictures say what is there: context left bright, colours that mean the same everywhere, the nearest ones nearest."""

import numpy as np
import pytest
import torch

from openjepa.masking.coverage import cover, first_masks, in_words
from openjepa.masking.settings import MaskSettings
from openjepa.reports.drawing import PALETTE, at_display_size, contact_sheet, draw_masks, elided, pca_maps, stack

STRATEGIES = ("multiblock", "block", "random", "rasterized", "reference")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_all_but_the_context_is_dimmed_and_every_target_is_outlined(strategy):
    settings = MaskSettings((12, 8), strategy)
    image = np.full((12 * 6, 8 * 6, 3), 200, np.uint8)
    (masks,) = first_masks(settings, 1, 4, seed=3)
    picture = draw_masks(image, *masks[:2], settings.grid_size).reshape(12, 6, 8, 6, 3).transpose(0, 2, 1, 3, 4)
    as_it_was = (picture == 200).all(axis=(2, 3, 4)).ravel()
    assert set(np.flatnonzero(as_it_was)) == set(masks.context_ids.tolist()) - set(masks.target_ids.ravel().tolist())
    for ids, colour in list(zip(masks.target_ids, PALETTE, strict=False))[-1:]:
        patches = picture.reshape(-1, 6, 6, 3)
        assert (patches[ids.numpy()] == colour).all(-1).any((1, 2)).sum() > 0
        others = np.setdiff1d(np.arange(96), ids.numpy())
        assert not (patches[others] == colour).all(-1).any()


def test_patch_maps_part_planted_clusters_alike_in_every_image():
    generator = torch.Generator().manual_seed(0)
    centres = 4 * torch.randn(2, 32, generator=generator)
    which = torch.randint(2, (5, 6, 7), generator=generator)
    tokens = centres[which] + 0.1 * torch.randn(5, 6, 7, 32, generator=generator)
    maps = pca_maps(tokens).astype(int)
    first, second = maps[which.numpy() == 0], maps[which.numpy() == 1]
    assert maps.shape == (5, 6, 7, 3)
    assert abs(first[:, 0].mean() - second[:, 0].mean()) > 200
    assert max(first[:, 0].std(), second[:, 0].std()) < 15
    assert (pca_maps(torch.ones(2, 3, 3, 8)) == 128).all()


def test_patch_maps_are_the_principal_components():
    tokens = torch.randn(3, 4, 4, 6, generator=torch.Generator().manual_seed(1)) * torch.tensor([9, 5, 3, 1, 1, 1.0])
    scores = np.linalg.svd(flat := (tokens.flatten(0, 2) - tokens.mean((0, 1, 2))).numpy(), full_matrices=False)[2][:3]
    projected, maps = flat @ scores.T, pca_maps(tokens).reshape(-1, 3)
    for ours, theirs in zip(maps.T, projected.T, strict=True):
        inside = (ours > 0) & (ours < 255)
        assert abs(np.corrcoef(ours[inside], theirs[inside])[0, 1]) > 0.9999


def test_the_middle_of_long_names_is_left_out():
    assert elided("short.jpg", 12) == "short.jpg"
    assert elided("plate_0001_well_A12_site_7.tif", 20) == "plate_…12_site_7.tif"
    assert len(elided("x" * 500, 30)) == 30


def test_images_are_enlarged_by_whole_pixels_and_shrunk_to_whole_patches():
    small = np.random.default_rng(0).integers(0, 256, (32, 16, 3), dtype=np.uint8)
    assert (at_display_size(small, (8, 4))[::7, ::7] == small).all()
    large = at_display_size(np.zeros((600, 900, 3), np.uint8), (20, 30))
    assert large.shape == (140, 210, 3)


def test_sheets_hold_every_picture():
    pictures = [np.full((4, 6, 3), shade, np.uint8) for shade in (10, 20, 30)]
    sheet = contact_sheet(pictures, columns=2, gap=1)
    assert sheet.shape == (9, 13, 3)
    assert [(sheet == shade).all(-1).sum() for shade in (10, 20, 30)] == [24, 24, 24]
    assert (stack([sheet, pictures[0]], gap=2) == 10).all(-1).sum() == 48


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_coverage_counts_what_was_sampled(strategy):
    settings = MaskSettings((8, 10), strategy)
    coverage = cover(settings, batch_size=16, seed=1, images=320)
    drawn = sum(length * batches for length, batches in coverage.context_lengths.items())
    images_a_batch = coverage.images // coverage.target_sizes.total()
    assert coverage.context.sum() == drawn * images_a_batch
    if strategy == "reference":
        assert len(coverage.context_lengths) > 1
        assert not coverage.fractions["context"][-1].any() and not coverage.fractions["target"][:, -1].any()
    else:
        assert coverage.context_lengths == {settings.context_length: coverage.target_sizes.total()}
        assert coverage.fractions["context"].mean() == pytest.approx(settings.context_length / 80)
        assert coverage.both == 0 and coverage.context.min() > 0 and coverage.target.min() > 0
    words = dict(in_words(settings, coverage))
    assert words["overlap"].startswith("none") == (coverage.both == 0)
    never = (coverage.context == 0).sum(), (coverage.target == 0).sum()
    assert words["never used"] == f"{never[0]} patches as context, {never[1]} as target"
