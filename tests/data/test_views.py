"""Photometric changes equal torchvision's, and are functions of (seed, epoch, index, view) alone."""

import dataclasses

import numpy as np
import pytest
import torch
from plain import PLAIN
from torchvision.transforms.v2 import functional as torchvision

from openjepa.config import build_config
from openjepa.data import views
from openjepa.data.batches import load_batches
from openjepa.data.decoding.pixel_format import PixelFormat
from openjepa.data.memory import hold_in_memory
from openjepa.data.open import open_dataset
from openjepa.data.views import Chances, changed
from openjepa.errors import UsageError
from openjepa.methods.registry import METHODS
from openjepa.rng import VIEWS, generator
from openjepa.runs.planning.build import build_batches
from openjepa.runs.planning.unused_settings import check_settings

SMALL = {"image_size": "32", "batch_size": 6, "workers": 0, "crop_scale": (0.3, 1.0)}


def images(count=5, channels=3, side=24):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, channels, side, side), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("ours", "theirs", "amounts"),
    [
        ("brighten", "adjust_brightness", (0.6, 1.0, 1.4)),
        ("contrast", "adjust_contrast", (0.6, 1.0, 1.4)),
        ("saturate", "adjust_saturation", (0.0, 0.8, 1.2)),
        ("shift_hue", "adjust_hue", (-0.1, 0.0, 0.1)),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_colours_are_those_of_torchvision(ours, theirs, amounts, channels):
    if channels == 1 and ours in ("saturate", "shift_hue"):
        return
    x = images(len(amounts), channels).float() / 255
    found = getattr(views, ours)(x, torch.tensor(amounts).view(-1, 1, 1, 1))
    expected = [getattr(torchvision, theirs)(image, amount) for image, amount in zip(x, amounts, strict=True)]
    torch.testing.assert_close(found, torch.stack(expected), atol=2e-6, rtol=0)


def test_grey_images_have_no_hue_to_shift():
    x = images(2)[:, :1].float().expand(-1, 3, -1, -1) / 255
    torch.testing.assert_close(views.shift_hue(x, torch.full((2, 1, 1, 1), 0.1)), x)


@pytest.mark.parametrize(("side", "kernel"), [(24, 3), (64, 7), (100, 11)])
def test_blur_and_solarise_are_those_of_torchvision(side, kernel):
    x, sigmas = images(2, side=side).float() / 255, (0.3, 1.9)
    expected = [
        torchvision.gaussian_blur(image, [kernel] * 2, [sigma] * 2) for image, sigma in zip(x, sigmas, strict=True)
    ]
    found = views.blur(x, torch.tensor(sigmas).view(-1, 1, 1, 1))
    torch.testing.assert_close(found, torch.stack(expected), atol=2e-6, rtol=0)
    torch.testing.assert_close(views.solarise(x, x), torchvision.solarize(x, 0.5))


def test_every_change_is_as_probable_as_asked():
    numbers = torch.from_numpy(np.random.default_rng(0).random((400, views.NUMBERS), np.float32))
    x = images(400, side=8)
    none = Chances(0, 0, 0, 0)
    for name in Chances._fields:
        made = changed(x, none._replace(**{name: 0.3}), numbers)
        fraction = (made != x).flatten(1).any(dim=1).float().mean()
        assert 0.22 < fraction < 0.38, name
    grey = changed(x, none._replace(grey=1.0), numbers)
    assert torch.equal(grey[:, 0], grey[:, 1]) and torch.equal(changed(x, none, numbers), x)


def test_colours_change_in_both_orders():
    """As in torchvision's ColorJitter; in one order a brighter image would always be clipped before its contrast."""
    x, numbers = images(2)[:1].expand(2, -1, -1, -1), torch.full((2, views.NUMBERS), 0.9)
    numbers[0, 5:9], numbers[1, 5:9] = torch.tensor([0.1, 0.2, 0.3, 0.4]), torch.tensor([0.2, 0.1, 0.3, 0.4])
    first, second = changed(x, Chances(1, 0, 0, 0), numbers)
    assert not torch.equal(first, second)


@pytest.fixture
def dataset(photos):
    return hold_in_memory(open_dataset(photos), 0)[0]


def test_a_view_is_a_function_of_seed_epoch_index_and_view(dataset):
    batches = build_batches(dataset, build_config(PLAIN, SMALL | {"method": "dino"}))
    alone = dataclasses.replace(batches, batch_size=1)
    other = dataclasses.replace(batches, seed=1)
    for step in (0, 4):  # of different epochs
        batch = batches[step]
        assert batch.views.shape == (2, 6, 3, 32, 32) and batch.small_views.shape == (6, 6, 3, 12, 12)
        for slot in range(6):
            single = alone[6 * step + slot]
            assert torch.equal(single.views[:, 0], batch.views[:, slot])
            assert torch.equal(single.small_views[:, 0], batch.small_views[:, slot])
        assert not torch.equal(batch.views, other[step].views)
        assert not torch.equal(batch.small_views[0], batch.small_views[1])


def test_workers_and_parts_do_not_change_views(dataset):
    batches = build_batches(dataset, build_config(PLAIN, SMALL | {"method": "dino"}))
    expected = [batches[step] for step in range(3)]
    for batch, same in zip(load_batches(batches, 0, 3, 1), expected, strict=True):
        assert torch.equal(batch.views, same.views) and torch.equal(batch.small_views, same.small_views)
    halves = [dataclasses.replace(batches, rank=rank, world_size=2)[1] for rank in range(2)]
    assert torch.equal(torch.cat([half.small_views for half in halves], dim=1), expected[1].small_views)
    parts = expected[1].split(3)
    assert torch.equal(torch.cat([part.small_views for part in parts], dim=1), expected[1].small_views)


def test_kinds_of_views_share_their_crops(dataset):
    kinds = ("crops", "photometric", "multicrop")
    crops, photometric, multicrop = (
        build_batches(dataset, build_config(PLAIN, SMALL | {"method": "swav", "views": kind}))[0] for kind in kinds
    )
    assert crops.small_views is None and photometric.small_views is None and multicrop.small_views is not None
    assert torch.equal(photometric.views, multicrop.views) and not torch.equal(crops.views, photometric.views)
    numbers = torch.from_numpy(
        np.stack([generator(0, VIEWS, 0, int(i), 1).random(13, np.float32) for i in crops.indices])
    )
    assert torch.equal(changed(crops.views[1], views.SECOND, numbers), photometric.views[1])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"method": "ijepa", "views": "crops"}, "--views crops would do nothing: ijepa looks at one crop of an image"),
        ({"method": "byol", "views": "multicrop"}, "--views multicrop is not possible with --method byol, which "),
        ({"method": "byol", "batch_size": 1}, "--batch-size 1 is not possible with --method byol, which compares "),
        ({"method": "byol", "accumulate": 2}, "--accumulate 2 is not possible with --method byol, whose loss needs "),
        ({"method": "byol", "views": "colour"}, "--views colour is not known: known are crops, photometric, multicrop"),
    ],
)
def test_what_cannot_be_is_refused(given, message):
    with pytest.raises(UsageError) as error:
        check_settings(build_config(PLAIN, SMALL | given), given)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_colours_of_more_than_8_bits_are_refused(dataset):
    deep = dataclasses.replace(dataset, pixel_format=PixelFormat(values="raw"))
    with pytest.raises(UsageError, match="give --views crops"):
        build_batches(deep, build_config(PLAIN, SMALL | {"method": "simclr"}))
    build_batches(deep, build_config(PLAIN, SMALL | {"method": "simclr", "views": "crops"}))


def test_every_method_of_several_views_has_views_that_it_can_have():
    for name, entry in METHODS.items():
        if entry.load().views > 1:
            check_settings(build_config(PLAIN, SMALL | {"method": name}), {})
