"""Where any orientation is normal, a turned normal image scores like an upright one, and defects are still odd."""

import numpy as np
import pytest
import torch
from support.anomaly_parts import draw_parts, untrained

from openjepa.anomaly.fitting.fit import FitSettings, Fitter
from openjepa.anomaly.stored import read_detector, read_detector_facts, write_detector
from openjepa.data.open import open_dataset

SIDE = 32


def model():
    return untrained(image_size=(SIDE, SIDE))


def parts(folder, count, **about):
    return open_dataset(draw_parts(folder, count, size=(SIDE, SIDE), **about))


def fitted(images, **settings):
    chosen = FitSettings(**{"scores": ("memory",), "any_orientation": True, **settings})
    return Fitter(model(), chosen, workers=0).fit(images, "model", (SIDE, SIDE)).detector


def pixels(images):
    return torch.stack([torch.from_numpy(np.array(images.load(n))).permute(2, 0, 1) for n in range(len(images))])


@pytest.mark.parametrize("count", [1, 5])
def test_a_turned_image_of_the_memory_is_in_it(tmp_path, count):
    images = parts(tmp_path, count)
    found = [fitted(images).score(torch.rot90(pixels(images), k, (2, 3))).scores[:, 1].max() for k in range(4)]
    assert max(found) < 1e-5
    alone = fitted(images, any_orientation=False).score(torch.rot90(pixels(images), 1, (2, 3)))
    assert alone.scores[:, 1].min() > 1e-3


def test_turned_pixels_are_remembered_too(tmp_path):
    images = parts(tmp_path, 3)
    detector = fitted(images, scores=("pixels",))
    found = [detector.score(torch.rot90(pixels(images), k, (2, 3))).scores[:, 1].max() for k in range(4)]
    assert max(found) < 1e-2
    alone = fitted(images, scores=("pixels",), any_orientation=False).score(torch.rot90(pixels(images), 1, (2, 3)))
    assert alone.scores[:, 1].min() > 0.1


def test_turned_images_are_normal_and_turned_defects_odd(tmp_path):
    detector = fitted(parts(tmp_path / "normal", 50), memory_patches=1000)
    assert len(detector.parts["memory"].memory.features) == 1000
    test = pixels(parts(tmp_path / "test", 24, defects=4, seed=1))
    for quarter in range(4):
        scores = detector.score(torch.rot90(test, quarter, (2, 3))).scores[:, 0]
        assert abs(scores[:20].mean()) < 1 and scores[20:].min() > scores[:20].max()
    upright = fitted(parts(tmp_path / "normal", 50), memory_patches=1000, any_orientation=False)
    assert upright.score(torch.rot90(test[:20], 1, (2, 3))).scores[:, 0].min() > 3


def test_orientations_are_kept_in_the_detector_and_defects_among_normal_images_are_still_named(tmp_path):
    detector = fitted(parts(tmp_path / "normal", 50, defects=1), memory_patches=500)
    assert (
        "memory of 40 normal images, each in four orientations and under other lights too; spread by"
        in detector.lines()[0]
    )
    assert detector.facts.suspects[0].path == "049.png"
    (tmp_path / "kept").mkdir()
    write_detector(tmp_path / "kept", detector)
    again = read_detector(tmp_path / "kept", read_detector_facts(tmp_path / "kept"), model())
    assert again.facts == detector.facts
    image = torch.from_numpy(np.full((1, 3, SIDE, SIDE), 9, np.uint8))
    torch.testing.assert_close(again.features(image), detector.features(image))
