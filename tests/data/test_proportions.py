"""The image size that suits a set of images, and what of them is said to be seen."""

import numpy as np
import pytest
from PIL import Image

from openjepa.data.crops import Frame, resize_centre_crop
from openjepa.data.proportions import seen_in_words, suited_sizes, unseen

SQUARES = [((32, 32), 4), ((64, 64), 8), ((128, 128), 16), ((224, 224), 16)]
ASPECTS = [(640, 480), (480, 640), (500, 333), (1920, 1080), (1280, 1024), (1150, 1000), (1000, 900), (3000, 1000)]


def suited(sizes, size, patch_size, max_stretch=0.1):
    return suited_sizes(sizes, Frame(size, max_stretch), patch_size)[0]


@pytest.mark.parametrize(("size", "patch_size"), SQUARES)
@pytest.mark.parametrize("image", ASPECTS)
def test_images_of_one_shape_are_seen_whole_with_about_as_many_patches(image, size, patch_size):
    rows, columns = suited([(*image, 300)], size, patch_size)
    assert rows % patch_size == columns % patch_size == 0
    assert 0.8 <= rows * columns / (size[0] * size[1]) <= 1.25
    assert unseen([(*image, 300)], Frame((rows, columns), 0.1)) == (0, 0)


@pytest.mark.parametrize(("size", "patch_size"), SQUARES)
@pytest.mark.parametrize(
    "sizes",
    [
        [(32, 32, 50_000)],
        [(128, 128, 9469)],
        [(100, 97, 5), (97, 100, 5)],
        [(640, 480, 50), (480, 640, 50)],
        [(480, 640, 10), (500, 375, 90)],
    ],
)
def test_squares_and_images_of_both_orientations_keep_the_square(sizes, size, patch_size):
    assert suited(sizes, size, patch_size) == size


def test_the_usual_proportions_decide_and_long_ones_are_bounded():
    assert suited([(640, 480, 100)], (64, 64), 8) == (56, 72)
    assert suited([(480, 640, 9), (640, 480, 91)], (64, 64), 8) == (56, 72)
    assert suited([(20_000, 1000, 10)], (64, 64), 8) == (32, 128)
    assert suited([(64, 48, 10)], (64, 64), 8, max_stretch=0) == (56, 72)


def test_what_is_said_to_be_seen():
    assert seen_in_words([(640, 480, 9)], Frame((48, 64))) == "images of 640x480 (width x height) are seen whole"
    assert "are seen whole, stretched by 4%" in seen_in_words([(640, 480, 9)], Frame((56, 72), 0.1))
    assert "cropped to the centre: 25% of each is not seen" in seen_in_words([(640, 480, 9)], Frame((64, 64), 0.1))
    mixed = [(640, 480, 50), (200, 100, 50)]
    assert unseen(mixed, Frame((48, 64))) == (pytest.approx(1 / 6), pytest.approx(1 / 3))
    assert "17% of their pixels are not seen, up to 33% of an image" in seen_in_words(mixed, Frame((48, 64)))


def test_nearly_equal_proportions_are_stretched_whole_and_others_lose_what_the_crop_cuts():
    """A picture whose colours are its coordinates shows which part of it is seen."""
    x, y = np.meshgrid(np.arange(240), np.arange(180))
    image = Image.fromarray(np.stack([x, y, 0 * x], axis=2).astype(np.uint8))
    whole, cut = resize_centre_crop(image, (14, 18), 0.1), resize_centre_crop(image, (16, 16), 0.1)
    assert whole.shape == (14, 18, 3) and np.array_equal(whole, np.asarray(image.resize((18, 14), Image.BICUBIC)))
    assert whole[..., 0].min() < 10 and whole[..., 0].max() > 229
    assert cut[..., 0].min() > 30 and cut[..., 0].max() < 209
    assert Frame((16, 16), 0.1).box(240, 180) == (30, 0, 210, 180)
    strict = resize_centre_crop(image, (14, 18))
    assert np.array_equal(strict, resize_centre_crop(image, (14, 18), 0.03)) and not np.array_equal(strict, whole)
