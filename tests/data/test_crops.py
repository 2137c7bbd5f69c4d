"""Crops: where they may lie, and the one preprocessing rule."""

import numpy as np
import pytest
import torch
from PIL import Image

from openjepa.data.crops import centre_box, crop_box, random_resized_crop, resize_centre_crop, standardise


@pytest.mark.parametrize("size", [(640, 480), (32, 32), (40, 300), (7, 5)])
def test_boxes_lie_inside_with_the_share_and_shape_asked_for(size):
    width, height = size
    rng, fractions = np.random.default_rng(0), []
    for _ in range(500):
        left, top, right, bottom = crop_box(width, height, (0.3, 1.0), 1.0, rng)
        assert 0 <= left < right <= width + 1e-9 and 0 <= top < bottom <= height + 1e-9
        assert 3 / 4 - 1e-9 <= (right - left) / (bottom - top) <= 4 / 3 + 1e-9
        fractions.append((right - left) * (bottom - top) / (width * height))
    if width < 2 * height and height < 2 * width:
        assert 0.3 <= min(fractions) < 0.35 and max(fractions) > 0.9


@pytest.mark.parametrize(
    "size, box",
    [
        ((1000, 100), (433.33, 0, 566.67, 100)),
        ((100, 1000), (0, 433.33, 100, 566.67)),
        ((110, 100), (0, 0, 110, 100)),
        ((150, 100), (8.33, 0, 141.67, 100)),
    ],
)
def test_after_ten_misses_the_box_is_the_largest_of_an_allowed_shape(size, box):
    class Rng:
        """Asks ten times for the whole area at 3:4 of a wide image, at 4:3 of a tall one."""

        def random(self, shape):
            return np.broadcast_to([1.0, float(size[0] < size[1]), 0.5, 0.5], shape)

    np.testing.assert_allclose(crop_box(*size, (0.3, 1.0), 1.0, Rng()), box, atol=0.01)


def test_a_crop_shows_what_is_in_its_box():
    """A picture whose colours are its coordinates gives away where each pixel of the crop came from."""
    x, y = np.meshgrid(np.arange(256), np.arange(256))
    image = Image.fromarray(np.stack([x, y, x * 0], axis=2).astype(np.uint8))
    rng = np.random.default_rng(1)
    box = crop_box(256, 256, (0.3, 1.0), 1.5, np.random.default_rng(1))
    crop = random_resized_crop(image, (16, 24), (0.3, 1.0), rng).astype(float)
    np.testing.assert_array_equal(crop, np.asarray(image.resize((24, 16), Image.Resampling.BILINEAR, box=box)))
    columns = box[0] + (np.arange(24) + 0.5) * (box[2] - box[0]) / 24 - 0.5
    rows = box[1] + (np.arange(16) + 0.5) * (box[3] - box[1]) / 16 - 0.5
    assert np.abs(crop[4:-4, 4:-4, 0] - columns[None, 4:-4]).max() < 1.5
    assert np.abs(crop[4:-4, 4:-4, 1] - rows[4:-4, None]).max() < 1.5


def test_preprocessing_is_the_centre_at_the_shorter_side():
    assert centre_box(200, 100, 1.0) == (50, 0, 150, 100)
    assert centre_box(100, 200, 2.0) == (0, 75, 100, 125)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8))
    same = resize_centre_crop(image, (40, 40))
    assert np.array_equal(same, np.asarray(image)[:, 10:50])


def test_standardise():
    images = torch.tensor([[[[0]], [[255]], [[51]]]], dtype=torch.uint8)
    out = standardise(images, [0.0, 0.5, 0.2], [1.0, 0.25, 0.1])
    torch.testing.assert_close(out.flatten(), torch.tensor([0.0, 2.0, 0.0]), atol=1e-5, rtol=0)
