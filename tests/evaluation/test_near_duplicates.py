"""Near duplicates across the parts are found, and pictures that only look alike a little are not."""

import io

import numpy as np
import torch
from PIL import Image

from openjepa.evaluation.near_duplicates import SIDE, Thumbnails, near_duplicates


def thumbnails(images) -> torch.Tensor:
    small = [np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for image in images]
    return Thumbnails().features(torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2))


def test_copies_are_found_in_another_size_quality_and_brightness():
    rng = np.random.default_rng(0)
    rough = rng.integers(40, 200, (30, 6, 6, 3), dtype=np.uint8)
    train = [Image.fromarray(x).resize((64, 64), Image.Resampling.BICUBIC) for x in rough[:20]]
    stream = io.BytesIO()
    train[4].save(stream, "JPEG", quality=40)
    copies = [train[7].resize((40, 40)), Image.open(stream), train[2].point(lambda v: min(255, v + 20))]
    others = [Image.fromarray(x).resize((64, 64), Image.Resampling.BICUBIC) for x in rough[20:]]
    assert near_duplicates(thumbnails(train), thumbnails([*others, *copies])).tolist() == [10, 11, 12]


def test_flat_images_say_nothing():
    flat = torch.full((3, 3 * SIDE**2), 80.0) + torch.rand(3, 3 * SIDE**2)
    assert near_duplicates(flat, flat).tolist() == []
