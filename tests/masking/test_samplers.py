"""What the mask sampler promises: unbiased, disjoint, of the length asked for, independent of the batch, bounded."""

import numpy as np
import pytest
import torch
from scipy.stats import chi2

from openjepa.masking import published
from openjepa.masking.multiblock import LEVELS, longest_context, target_shape
from openjepa.masking.samplers import STRATEGIES, check_masks, sample_masks
from openjepa.masking.settings import MaskSettings

GRIDS = [(4, 4), (4, 7), (8, 8), (6, 12), (14, 14), (32, 32)]
OURS = ["multiblock", "block", "random", "rasterized"]


def settings_for(grid, strategy="multiblock"):
    return MaskSettings(grid, strategy, **STRATEGIES[strategy].defaults)


def counts(settings, images, batch_size=256, seed=0):
    """How often each patch of the grid was context and target, over a number of images."""
    context, target = torch.zeros(settings.num_patches), torch.zeros(settings.num_patches)
    for step in range(images // batch_size):
        masks = sample_masks(settings, batch_size, seed, step)
        context += torch.bincount(masks.context_ids.flatten(), minlength=settings.num_patches)
        target += torch.bincount(masks.target_ids.flatten(), minlength=settings.num_patches)
    return context.view(settings.grid_size), target.view(settings.grid_size)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("strategy", OURS)
def test_every_mask_is_sound(grid, strategy):
    settings = settings_for(grid, strategy)
    if strategy == "rasterized" and any(side % 2 for side in grid):
        with pytest.raises(ValueError, match="even grid"):
            check_masks(settings)
        return
    check_masks(settings)
    for seed in range(4):
        for step in range(8):
            masks = sample_masks(settings, 32, seed, step)
            assert masks.context_ids.shape == (32, settings.context_length)
            for ids in (masks.context_ids, masks.target_ids):
                assert ids.min() >= 0 and ids.max() < settings.num_patches
                assert (ids.sort(dim=-1)[0].diff(dim=-1) > 0).all()  # no patch twice in a context or a target
            hidden = torch.zeros(32, settings.num_patches, dtype=torch.bool).scatter_(
                1, masks.target_ids.flatten(1), True
            )
            assert not hidden.gather(1, masks.context_ids).any()


def covering(size, block):
    """Chance of each of `size` rows to lie in a block of `block` rows placed evenly anywhere."""
    return np.convolve(np.ones(size - block + 1), np.ones(block)) / (size - block + 1)


def expected_targets(settings):
    """How often each patch is a target of an image, by enumeration of block shapes and places."""
    shapes = [target_shape(settings, a, b) for a in range(LEVELS) for b in range(LEVELS)]
    rows, columns = settings.grid_size
    once = sum(np.outer(covering(rows, h), covering(columns, w)) for h, w in shapes) / len(shapes)
    return torch.from_numpy(settings.num_targets * once).float()


@pytest.mark.parametrize("grid", GRIDS)
def test_every_patch_is_context_and_target_without_bias(grid):
    settings, images = settings_for(grid), 16384
    context, target = counts(settings, images, batch_size=64)
    assert torch.allclose(target / images, expected_targets(settings), rtol=0.25)
    assert context.min() > 0.15 * context.mean()  # the centre is covered most often by targets
    for flipped in (context.flip(0), context.flip(1)):
        assert torch.allclose(context, flipped, rtol=0.15)


@pytest.mark.parametrize("strategy", OURS)
def test_a_slot_does_not_depend_on_the_batch(strategy):
    settings = settings_for((8, 8), strategy)
    for step in range(20):
        large = sample_masks(settings, 512, 3, step)
        for size in (1, 5):
            small = sample_masks(settings, size, 3, step)
            assert torch.equal(small.context_ids, large.context_ids[:size])
            assert torch.equal(small.target_ids, large.target_ids[:size])


def test_slots_are_alike():
    """The first slot of many batches and all slots of fewer have the same distribution of context patches."""
    settings = settings_for((8, 8))
    first, _ = counts(settings, 2048, batch_size=1)
    every, _ = counts(settings, 512 * 64, batch_size=512, seed=1)
    shares = every.flatten() / every.sum()
    expected = shares * first.sum()
    statistic = float(((first.flatten() - expected) ** 2 / expected).sum())
    assert statistic < chi2.ppf(0.9999, df=63)  # without replacement within an image: if anything, below chi-square


def test_masks_change_with_seed_step_and_slot():
    settings = settings_for((12, 12))
    ids = [sample_masks(settings, 2, seed, step).context_ids for seed in (0, 1) for step in (0, 1)]
    rows = torch.cat(ids)
    assert len(rows.unique(dim=0)) == len(rows)


def test_tight_settings_stay_sound():
    """At the largest context that fits, layouts are redrawn and, in the end, replaced; never faulty."""
    settings = settings_for((6, 6))
    tight = MaskSettings((6, 6), context_ratio=longest_context(settings) / 36)
    check_masks(tight)
    redrawn = 0
    for step in range(200):
        masks = sample_masks(tight, 64, 0, step)
        redrawn += masks.redrawn
        overlap = (masks.context_ids[:, :, None] == masks.target_ids.flatten(1)[:, None]).any()
        assert not overlap and masks.context_ids.shape[1] == tight.context_length
    assert 0 < redrawn <= 200 * 64 * 0.55  # half of the layouts of the tightest shape are redrawn


def test_what_cannot_fit_is_refused_with_the_nearest_that_can():
    with pytest.raises(ValueError, match=r"nearest is --context-ratio 0\.25") as refusal:
        check_masks(MaskSettings((8, 8), context_ratio=0.5))
    nearest = float(str(refusal.value).split()[-1])
    check_masks(MaskSettings((8, 8), context_ratio=nearest))
    with pytest.raises(ValueError, match="leave no context"):
        check_masks(MaskSettings((8, 8), target_scale=(1.0, 1.0)))
    with pytest.raises(ValueError, match="too small"):
        check_masks(MaskSettings((1, 8)))
    with pytest.raises(ValueError, match="num_targets is 1 with random masks, not 4"):
        check_masks(MaskSettings((8, 8), "random", target_scale=(0.6, 0.6)))
    with pytest.raises(ValueError, match="less than a patch"):
        check_masks(MaskSettings((8, 8), "random", num_targets=1, target_scale=(0.005, 0.005)))
    with pytest.raises(ValueError, match=r"context_ratio is 0\.25 with rasterized masks, not 0\.4"):
        check_masks(MaskSettings((8, 8), "rasterized", num_targets=3, context_ratio=0.4))
    with pytest.raises(ValueError, match="the nearest is 8x6"):
        check_masks(MaskSettings((7, 6), "rasterized", num_targets=3))


class TestReference:
    """The published sampler's faults, kept for comparison, are there; its endless loop is not."""

    settings = MaskSettings((14, 14), "reference")

    def test_last_row_and_column_are_dead(self):
        context, target = counts(self.settings, 1536, 128)
        dead = (context + target) == 0
        assert dead[-1].all() and dead[:, -1].all() and not dead[:-1, :-1].any()

    def test_truncation_depends_on_the_batch_and_favours_the_top(self):
        lengths = [sample_masks(self.settings, size, 0, 0).context_ids.shape[1] for size in (1, 16, 256)]
        assert lengths[0] > lengths[1] > lengths[2]
        context, _ = counts(self.settings, 1536, 128)
        rows = context.sum(1) / context.sum()
        assert rows[:4].sum() > 3 * rows[-5:].sum()

    def test_small_grids_end(self):
        redrawn = 0
        for step in range(40):
            redrawn += sample_masks(MaskSettings((8, 8), "reference"), 8, 0, step).redrawn
        assert redrawn > 0
        with pytest.raises(ValueError, match="more than 10 patches"):
            check_masks(MaskSettings((6, 6), "reference"))

    def test_block_shapes_are_cut_to_whole_patches_before_the_root(self):
        """The published rule: patches of a block = floor(rows * columns * scale), then its sides, rounded."""
        for u in np.random.default_rng(0).random(200):
            area = int(14 * 14 * (0.15 + 0.05 * u))
            ratio = 0.75 + 0.75 * u
            sides = round((area * ratio) ** 0.5), round((area / ratio) ** 0.5)
            assert published._shape(self.settings, (0.15, 0.2), (0.75, 1.5), u) == sides
