"""The sample of images that a run is measured on while it trains."""

import shutil

import pytest

from openjepa.data.crops import Frame
from openjepa.data.open import open_dataset
from openjepa.errors import UsageError
from openjepa.training.monitoring.online_probe import sample_images


def test_images_that_are_gone_are_left_out_and_told_where_none_is_left(photos):
    dataset = open_dataset(photos)
    shutil.rmtree(photos / "cat")
    images, kept = sample_images(dataset, Frame((8, 8)), 100, 0)
    assert len(images) == len(kept) == 12
    shutil.rmtree(photos)
    with pytest.raises(UsageError, match=r"none of the 24 images of .*photos can be read"):
        sample_images(dataset, Frame((8, 8)), 100, 0)
