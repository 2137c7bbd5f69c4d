"""Scores count by how well they tell planted defects, and small defects that features miss are found by pixels."""

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score
from support.anomaly_parts import untrained

from openjepa.anomaly.calibration import Calibration, Spread, combined
from openjepa.anomaly.fitting.fit import FitSettings, Fitter
from openjepa.anomaly.fitting.weights import DRAWS, WithDefects, aurocs
from openjepa.anomaly.patches import PatchSettings
from openjepa.anomaly.scorer import Score
from openjepa.data.open import open_dataset
from openjepa.encoder.encoder import Encoder
from openjepa.runs.detectors import score_images


class Blind(Encoder):
    """Tokens that say nothing of an image but noise."""

    def tokens(self, images):
        return torch.randn(len(images), 48, 8)


def draw_boards(folder, count, defects=0, seed=0):
    """Lines at random places; the last have a dot of two pixels beside a line."""
    rng = np.random.default_rng(seed)
    folder.mkdir()
    for number in range(count):
        pixels = np.full((24, 32, 3), 60, np.uint8)
        for row in range(4, 24, 8):
            pixels[row] = 200
        pixels = np.roll(pixels, rng.integers(8), 0)
        if number >= count - defects:
            row, column = rng.integers(2, 20), rng.integers(2, 28)
            pixels[row : row + 2, column : column + 2] = 255 - pixels[row : row + 2, column : column + 2]
        Image.fromarray(pixels).save(folder / f"{number:03}.png")
    return open_dataset(folder)


@pytest.mark.parametrize("count", [20, 60])
def test_pixels_find_what_features_do_not_see(tmp_path, count):
    torch.manual_seed(0)
    base = untrained()
    model = Blind(base.network, base.mean, base.std, "blind")
    settings = FitSettings(PatchSettings(layers=1))
    normal = draw_boards(tmp_path / "normal", count)
    detector = Fitter(model, settings, workers=0).fit(normal, "m", (32, 24)).detector
    scores, *_ = score_images(detector, draw_boards(tmp_path / "test", 60, defects=30, seed=1), 0)
    odd = np.arange(60) >= 30
    pixels = scores[:, detector.names.index("pixels")]
    assert detector.calibration.weights["pixels"] > 0.7
    assert roc_auc_score(odd, pixels) > 0.95 and roc_auc_score(odd, scores[:, 0]) > 0.9


def test_weights_are_squares_of_what_is_above_chance():
    found = Calibration({}, "", planted={"memory": 0.7, "density": 0.6, "pixels": 0.4}).weights
    assert found == pytest.approx({"memory": 0.8, "density": 0.2, "pixels": 0.0})
    assert Calibration({}, "", planted={"memory": 0.5, "density": 0.3}).weights == {"memory": 0.5, "density": 0.5}
    assert Calibration({}, "").weights == {}


def test_a_combination_is_a_weighted_mean():
    scores = {name: Score(torch.tensor([value]), torch.tensor([[value]])) for name, value in (("a", 1.0), ("b", 5.0))}
    spreads = dict.fromkeys(scores, Spread((1.0, 2.0), (0.0, 1.0)))
    assert combined(scores, spreads).images == 1 and combined(scores, spreads).maps == 3
    found = combined(scores, spreads, {"a": 0.75, "b": 0.25})
    assert found.images == 0.5 and found.maps == 2
    assert combined(scores, spreads, {"a": 0.0, "b": 0.0}).images == 1


def test_defects_are_planted_in_copies_and_differ_from_batch_to_batch():
    images = torch.randint(0, 256, (2, 3, 24, 32), dtype=torch.uint8)
    first, second = (shown(images) for shown in [WithDefects(lambda x: x, 0)] for _ in range(2))
    assert first.shape == (2, 1 + DRAWS, 3, 24, 32) and torch.equal(first[:, 0], images)
    assert not torch.equal(first[:, 1], second[:, 1]) and torch.equal(first, WithDefects(lambda x: x, 0)(images))
    normal = {"memory": Score(torch.tensor([0.0, 1.0]), None)}
    odd = [{"memory": Score(torch.tensor([value, 2.0]), None)} for value in (3.0, 0.5)]
    assert aurocs(normal, odd) == {"memory": 0.875}
