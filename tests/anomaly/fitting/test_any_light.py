"""Where light changes, normal images that were remembered under other lights are not odd, and defects still are."""

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from support.anomaly_parts import draw_parts, untrained

from openjepa.anomaly.fitting.fit import FitSettings, Fitter
from openjepa.anomaly.fitting.planted import LIGHTS, relit
from openjepa.data.open import open_dataset


def fitter(**settings):
    return Fitter(untrained(), FitSettings(**settings), workers=0)


def pixels(images):
    return torch.stack([torch.from_numpy(np.array(images.load(n))).permute(2, 0, 1) for n in range(len(images))])


def test_relit_normal_images_are_less_odd_and_defects_are_told_from_them(tmp_path):
    normal = open_dataset(draw_parts(tmp_path / "normal", 60))
    test = pixels(open_dataset(draw_parts(tmp_path / "test", 40, defects=20, seed=1)))
    test[:20] = relit(test[:20], 5)
    found = []
    for any_light in (False, True):
        detector = fitter(any_light=any_light).fit(normal, "m", (32, 24)).detector
        assert ("each under other lights too" in detector.lines()[0]) == any_light
        scores = detector.score(test).scores[:, 0]
        assert roc_auc_score(np.arange(40) >= 20, scores) > 0.95
        found.append(float(scores[:20].mean()))
    assert found[1] < found[0] / 3, found


def test_each_image_is_read_as_it_is_and_under_other_lights():
    images = torch.randint(0, 256, (2, 3, 24, 32), dtype=torch.uint8)
    one = fitter()
    found = one._to_fit(images)
    assert found.shape[:3] == (2, 1 + LIGHTS, 48)
    torch.testing.assert_close(found[:, 0], one.reader(images))
    torch.testing.assert_close(found[:, 2], one.reader(relit(images, 1)))
    assert not torch.equal(one._to_fit(images)[:, 1], found[:, 1])


def test_patches_of_an_image_under_other_lights_are_its_own(tmp_path):
    """Left out of the memory, an image is not found again in a copy of itself."""
    images = open_dataset(draw_parts(tmp_path, 5))
    detector = fitter(scores=("memory",)).fit(images, "m", (32, 24)).detector
    memory = detector.parts["memory"].memory
    assert sorted(set(memory.owners.tolist())) == [0, 1, 2, 3, 4] and len(memory.owners) == 5 * 48 * (1 + LIGHTS)
    reading = detector.reader.split(detector.reader(relit(pixels(images), 0)))
    assert detector.parts["memory"](reading).images.max() < 1e-5
    assert detector.parts["memory"].left_out(reading, torch.arange(5)).images.min() > 1e-3
