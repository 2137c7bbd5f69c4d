"""Defects among the normal images are named, and nothing is said where there are none."""

import numpy as np
import pytest
import torch
from PIL import Image
from support.anomaly_parts import DEFECT, draw_parts, untrained

from openjepa.anomaly.fitting.fit import FitSettings, Fitter
from openjepa.anomaly.fitting.suspects import FAR, LISTED, Batch, TwoPasses, find_suspects
from openjepa.anomaly.stored import read_detector, read_detector_facts, write_detector
from openjepa.data.open import open_dataset
from openjepa.data.sources.objects import as_dataset


def with_defects(folder, count):
    """Normal images, of which 003.png has a bright spot and 007.png a dark stripe."""
    draw_parts(folder, count)
    for name, value, place in (("003", 230, DEFECT), ("007", 10, (slice(18, 22), slice(2, 30)))):
        pixels = np.array(Image.open(folder / f"{name}.png"))
        pixels[place] = value
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return open_dataset(folder)


def fitted(images, **settings):
    return Fitter(untrained(), FitSettings(**settings), workers=0).fit(images, "model", (32, 24)).detector


@pytest.mark.parametrize("settings", [{}, {"false_alarms": 0.1}, {"memory_patches": 900, "scores": ("memory",)}])
def test_defects_among_normal_images_are_named_wherever_they_were_put(tmp_path, settings):
    images = with_defects(tmp_path / "mixed", 60)
    for seed in (0, 3):
        found = fitted(images, seed=seed, **settings).facts.suspects
        assert {suspect.path for suspect in found} == {"003.png", "007.png"}
        assert found[0].above >= found[1].above > FAR
    assert not fitted(open_dataset(draw_parts(tmp_path / "clean", 60)), **settings).facts.suspects


def test_suspects_are_kept_in_the_detector_and_shown(tmp_path):
    detector = fitted(open_dataset(draw_parts(tmp_path / "mixed", 60, defects=1)))
    (tmp_path / "kept").mkdir()
    write_detector(tmp_path / "kept", detector)
    again = read_detector(tmp_path / "kept", read_detector_facts(tmp_path / "kept"), untrained())
    assert again.facts.suspects == detector.facts.suspects != ()
    assert "warning: far from all other normal images" in again.lines()[-1] and "059.png (" in again.lines()[-1]


def test_images_that_cannot_be_kept_are_read_again_and_give_the_same():
    batches = [Batch(torch.full((2, 3), float(number)), [2 * number, 2 * number + 1]) for number in range(4)]
    asked = []

    def read(places):
        asked.append(places.tolist())
        yield from batches[places[0] // 2 :]

    for held, missing in ((0, [[0, 1, 2, 3, 4, 5, 6, 7]]), (30, [[4, 5, 6, 7]]), (2**20, [])):
        passes, asked = TwoPasses(held), []
        assert list(passes.first(batches)) == batches == list(passes.again(read))
        assert asked == missing


def test_few_images_and_equal_images_accuse_none():
    far = np.r_[np.linspace(1, 1.1, 38), 90]
    assert not find_suspects([str(n) for n in range(39)], far)
    assert not find_suspects(["x"] * 50, np.ones(50))
    many = find_suspects([str(n) for n in range(400)], np.r_[np.linspace(1, 1.1, 380), np.arange(20) + 50])
    assert [suspect.path for suspect in many] == [str(number) for number in range(399, 399 - LISTED, -1)]
    same = as_dataset([np.full((24, 32, 3), 90, np.uint8)] * 40)
    assert not fitted(same).facts.suspects
