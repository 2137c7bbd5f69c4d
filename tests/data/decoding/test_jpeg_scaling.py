"""A JPEG decoded small gives the crop that the whole one gives."""

from functools import partial

import numpy as np
import pytest
from PIL import Image

from openjepa.data.crops import crop_box, oriented_crop, random_resized_crop
from openjepa.data.dataset import ImageFiles
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
        image, box = load_for_crop(photo, index, size, SCALE, partial(generator, 0, CROPS, epoch, index))
        smaller += image.width < whole.width
        times = round(whole.width / image.width)
        assert image.size == tuple(-(-side // times) for side in whole.size)
        ours = oriented_crop(image, size, box, 0)
        exact = random_resized_crop(whole, size, SCALE, generator(0, CROPS, epoch, index))
        assert np.abs(ours.astype(int) - exact).mean() < 2
    assert smaller == 12 or size == (64, 64)


def test_the_boxes_of_reduced_jpegs_are_the_exact_ones_up_to_a_hundredth_of_a_side(tmp_path):
    rng, reduced = np.random.default_rng(0), 0
    for number in range(300):
        width, height = (int(side) for side in rng.integers(30, 700, 2))
        Image.new("RGB", (width, height)).save(tmp_path / "a.jpg", quality=50)
        dataset, scale = open_dataset(tmp_path), [(0.3, 1.0), (0.9, 1.0), (0.05, 0.3)][number % 3]
        size = tuple(int(side) for side in rng.integers(8, 40, 2))
        for epoch in range(5):
            dice = partial(generator, number, CROPS, epoch, 0)
            image, box = load_for_crop(dataset, 0, size, scale, dice)
            exact = crop_box(width, height, scale, size[1] / size[0], dice())
            back = np.array(box) / [*image.size, *image.size] * [width, height, width, height]
            assert np.abs(back - exact).max() <= 0.01 * max(width, height)
            times = round(width / image.width)
            true = np.minimum(np.array(box) * times, [width, height] * 2)  # a pixel of it is so many of the whole
            assert (np.abs(true - exact) <= 0.01 * np.array([width, height] * 2) + 1e-6).all()
            assert 0 <= box[0] < box[2] <= image.width and 0 <= box[1] < box[3] <= image.height
            reduced += times > 1
    assert reduced > 500


def test_other_formats_and_images_in_memory_stay_whole_and_are_read_once(photo, monkeypatch):
    dice = partial(generator, 0, CROPS, 0, 0)
    reads = []
    read = ImageFiles.read
    monkeypatch.setattr(ImageFiles, "read", lambda *given: reads.append(given[1]) or read(*given))
    image, box = load_for_crop(photo, 2, (8, 8), SCALE, dice)
    assert image.size == (211, 159) and reads == [2] and box == crop_box(211, 159, SCALE, 1, dice())
    assert load_for_crop(open_dataset("scenes:3"), 0, (8, 8), SCALE, dice)[0].size == (64, 64)


@pytest.mark.parametrize("suffix", ["bmp", "jpg", "png", "tiff", "webp"])
def test_an_image_of_any_kind_is_opened_and_decoded_once_for_a_crop(tmp_path, monkeypatch, suffix):
    Image.new("RGB", (90, 70), "olive").save(tmp_path / f"a.{suffix}")
    dataset, done = open_dataset(tmp_path), []

    def counted(owner, name):
        call = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *args, **more: done.append(name) or call(*args, **more))

    counted(dataset, "open")
    counted(Image, "open")
    image, box = load_for_crop(dataset, 0, (16, 16), SCALE, partial(generator, 0, CROPS, 0, 0))
    assert done == ["open", "open"]  # the file, and the image in it
    assert oriented_crop(image, (16, 16), box, 0).shape == (16, 16, 3)
