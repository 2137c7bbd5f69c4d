"""Standardised features are chosen where light hides defects without them, and by normal images alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.anomaly_parts import draw_parts, untrained

from openjepa.anomaly.fitting.fit import FitSettings, Fitter
from openjepa.anomaly.fitting.lighting import LEAST, MARGIN, choose_lighting
from openjepa.anomaly.patches import PatchSettings
from openjepa.anomaly.stored import read_detector, read_detector_facts, write_detector
from openjepa.data.open import open_dataset
from openjepa.data.sources.objects import as_dataset
from openjepa.encoder.encoder import Encoder

SIZE = 48, 64


class Bright(Encoder):
    """Tokens that are the mean of each patch and the mean of the image, many times as strong."""

    def tokens(self, images):
        patches = torch.nn.functional.avg_pool2d(images.float(), 4).flatten(2).transpose(1, 2)
        whole = patches.mean(dim=1, keepdim=True)
        return torch.cat([patches, 20 * whole.expand_as(patches)], dim=2)


def bright():
    return Bright(untrained(image_size=SIZE).network, [0.5] * 3, [0.5] * 3, "bright")


ONE = FitSettings(PatchSettings(layers=1))


def plates(count, seed=0):
    """Images of the same stripes."""
    rng = np.random.default_rng(seed)
    stripes = 120 + 50 * np.sin(np.linspace(0, 12, SIZE[1]))[None, :, None]
    return as_dataset([(stripes + rng.normal(0, 2, (*SIZE, 3))).astype(np.uint8) for _ in range(count)])


def test_features_that_light_rules_are_standardised():
    found = choose_lighting(bright(), ONE, plates(40), workers=0)
    plain, even, images = found.lighting_choice
    assert found.patches.lighting and even >= plain + MARGIN and images == 32  # eight are for the spreads
    assert replace(found, patches=ONE.patches, lighting_choice=None) == ONE
    lines = Fitter(bright(), found, 0).fit(plates(40), "m", (32, 24)).detector.lines()
    assert f"AUROC {100 * even:.1f} with, {100 * plain:.1f} without (by 32 normal images)" in lines[-1]


def test_too_few_images_and_scores_without_features_choose_nothing():
    for settings, count in ((ONE, LEAST - 1), (replace(ONE, scores=("energy",)), 40)):
        assert choose_lighting(bright(), settings, plates(count), workers=0) == settings


def test_images_held_out_are_not_looked_at_and_the_choice_is_the_same_at_any_worker_count(tmp_path):
    folder = draw_parts(tmp_path / "normal", 60)
    settings = FitSettings(false_alarms=0.1)
    one, other = (choose_lighting(untrained(), settings, open_dataset(folder), workers) for workers in (0, 2))
    assert one == other and one.lighting_choice.images == 36


def test_the_choice_is_kept_in_the_detector(tmp_path):
    images = open_dataset(draw_parts(tmp_path / "normal", 20))
    settings = choose_lighting(untrained(), FitSettings(), images, 0)
    detector = Fitter(untrained(), settings, 0).fit(images, "m", (32, 24)).detector
    (tmp_path / "kept").mkdir()
    write_detector(tmp_path / "kept", detector)
    again = read_detector(tmp_path / "kept", read_detector_facts(tmp_path / "kept"), untrained())
    assert again.facts.lighting == settings.lighting_choice
    assert again.facts.lighting.plain == pytest.approx(settings.lighting_choice.plain)
    assert again.reader.features.settings == settings.patches
