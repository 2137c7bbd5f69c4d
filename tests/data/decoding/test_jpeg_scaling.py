"""A JPEG decoded small gives the crop that the whole one gives."""

from functools import partial

import numpy as np
import pytest
from PIL import Image

from openjepa.data.crops import random_resized_crop
from openjepa.data.decoding.jpeg_scaling import load_for_crop
from openjepa.data.open import open_dataset
from openjepa.rng import CROPS, generator

SCALE = (0.3, 1.0)


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    """Smooth colours of 211 x 159 px, as JPEG upright and on its side, and as PNG."""
    folder = tmp_path_factory.mktemp("photo")
    rough = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    image = Image.fromarray(rough).resize((211, 159), Image.Resampling.BICUBIC)
    image.save(folder / "a.jpg", quality=95)
    side, exif = image.transpose(Image.Transpose.ROTATE_90), Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by whoever shows it
    side.save(folder / "b.jpg", quality=95, exif=exif)
    image.save(folder / "c.png")
    return open_dataset(folder)


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("size", [(16, 16), (24, 32), (64, 64)])
def test_a_reduced_jpeg_gives_the_same_crop(photo, index, size):
    smaller = 0
    for epoch in range(12):
        whole = photo.load(index)
        image = load_for_crop(photo, index, size, SCALE, partial(generator, 0, CROPS, epoch, index))
        smaller += image.width < whole.width
        times = round(whole.width / image.width)
        assert image.size == tuple(-(-side // times) for side in whole.size)
        ours, exact = (random_resized_crop(i, size, SCALE, generator(0, CROPS, epoch, index)) for i in (image, whole))
        assert np.abs(ours.astype(int) - exact).mean() < 2
    assert smaller == 12 or size == (64, 64)


def test_other_formats_and_images_in_memory_stay_whole(photo):
    dice = partial(generator, 0, CROPS, 0, 0)
    assert load_for_crop(photo, 2, (8, 8), SCALE, dice).size == (211, 159)
    assert load_for_crop(open_dataset("scenes:3"), 0, (8, 8), SCALE, dice).size == (64, 64)
