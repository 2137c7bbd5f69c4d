"""Damaged files of every format are read or refused, in this process; benchmarks/fuzz.py does it two thousand times."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.ImageFile import ImageFile

from openjepa.data.decoding.read import read_pixels
from openjepa.errors import BadImage

spec = importlib.util.spec_from_file_location("fuzz", Path(__file__).parents[3] / "benchmarks" / "fuzz.py")
fuzz = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fuzz)


@pytest.fixture(scope="module")
def image():
    rough = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    return Image.fromarray(rough).resize((64, 48), Image.Resampling.BICUBIC)


def test_every_format_is_read_whole(image):
    assert {fuzz.attempt(data) for data in fuzz.encodings(image).values()} == {"read", "12 channels, not 3"}


def test_damage_is_refused_in_words_or_read(image):
    said = [fuzz.attempt(data) for _, data in fuzz.mutations([image], 195, seed=1)]
    assert said.count("read") < 150 and all("\n" not in reason for reason in said)


def test_the_same_seed_damages_the_same_way(image):
    first, again = (list(fuzz.mutations([image], 30, seed=2)) for _ in range(2))
    assert first == again != list(fuzz.mutations([image], 30, seed=3))


def test_a_jpeg_that_claims_more_than_it_holds_is_refused_before_it_is_decoded(image, monkeypatch):
    data = fuzz.encodings(image)["jpeg progressive"]
    start = data.find(b"\xff\xc2\0")
    lie = data[: start + 5] + (9000).to_bytes(2) * 2 + data[start + 9 :]
    scans = data[:-2] + b"\xff\xda" * 700_000 + data[-2:]
    decoded = []
    monkeypatch.setattr(ImageFile, "load", lambda self: decoded.append(self))
    for bomb, reason in ((lie, "claims more pixels than it can hold"), (scans, "too many scans")):
        with pytest.raises(BadImage, match=reason):
            read_pixels(fuzz.io.BytesIO(bomb))
    assert not decoded
