"""Detectors find planted defects, whatever the model is, from one normal image up."""

import json

import numpy as np
import pytest
import torch
from support.anomaly_parts import draw_parts, untrained
from support.foreign import timm_folder

from openjepa.anomaly.detector import Detector
from openjepa.anomaly.fitting.fit import FitSettings, Fitter
from openjepa.anomaly.patches import PatchSettings, check_patch_model
from openjepa.anomaly.stored import FACTS, TENSORS, read_detector, read_detector_facts, write_detector
from openjepa.data.open import open_dataset
from openjepa.encoder.baselines import Pixels
from openjepa.errors import UsageError
from openjepa.interop.load import load_encoder
from openjepa.interop.weights.files import read_safetensors, save_tensors
from openjepa.runs.detectors import score_images


def fitted(model, folder, **settings) -> Detector:
    fitter = Fitter(check_patch_model(model), FitSettings(**settings), workers=0)
    return fitter.fit(open_dataset(folder), "model", (32, 24)).detector


@pytest.mark.parametrize("count", [1, 2, 9, 60])
def test_planted_defects_score_highest_and_where_they_are(tmp_path, count):
    detector = fitted(untrained(), draw_parts(tmp_path / "normal", count), scores=("memory", "density", "image"))
    assert list(detector.parts) == ["memory", "density", *(["image"] if count > 2 else [])]
    maps = {}
    test = open_dataset(draw_parts(tmp_path / "test", 12, defects=4, seed=1))
    scores, kept, skipped = score_images(detector, test, 0, each=maps.__setitem__)
    assert kept.tolist() == list(range(12)) and not skipped
    assert scores[8:, 0].min() > scores[:8, 0].max()
    for index in range(8, 12):
        row, column = divmod(int(maps[index].argmax()), 8)
        assert row in (2, 3) and column in (3, 4)


def test_normal_images_have_mean_0_and_spread_1_on_average(tmp_path):
    detector = fitted(untrained(), draw_parts(tmp_path / "normal", 100))
    scores, *_ = score_images(detector, open_dataset(draw_parts(tmp_path / "more", 60, seed=5)), 0)
    assert abs(scores[:, 0].mean()) < 0.5 and 0.6 < scores[:, 0].std() < 1.5


def test_networks_of_other_libraries_with_patch_tokens_do(tmp_path):
    timm_folder(tmp_path / "model", "vit_base_patch16_224")
    model = load_encoder(tmp_path / "model")
    detector = fitted(model, draw_parts(tmp_path / "normal", 3), patches=PatchSettings(layers=1))
    scores, *_ = score_images(detector, open_dataset(draw_parts(tmp_path / "test", 4, defects=1)), 0)
    assert int(scores[:, 0].argmax()) == 3


def test_models_without_patch_tokens_are_refused(tmp_path):
    with pytest.raises(UsageError, match="pixels has no patch tokens, which anomalies are found by"):
        check_patch_model(Pixels())


def test_the_same_seed_gives_the_same_detector_at_any_worker_count(tmp_path):
    normals = open_dataset(draw_parts(tmp_path / "normal", 50))
    detectors = [
        Fitter(untrained(), FitSettings(memory_patches=200, false_alarms=0.1), workers)
        .fit(normals, "m", (32, 24))
        .detector
        for workers in (0, 2)
    ]
    one, other = (detector.parts["memory"].memory for detector in detectors)
    assert torch.equal(one.features, other.features) and len(one.features) == 200
    assert detectors[0].calibration.threshold == detectors[1].calibration.threshold


def test_a_stored_detector_gives_the_same_scores_and_is_refused_with_another_model(tmp_path):
    kinds = ("memory", "density", "pixels", "image")
    detector = fitted(untrained(), draw_parts(tmp_path / "normal", 30), scores=kinds, false_alarms=0.2)
    (tmp_path / "kept").mkdir()
    write_detector(tmp_path / "kept", detector)
    facts = read_detector_facts(tmp_path / "kept")
    again = read_detector(tmp_path / "kept", facts, untrained())
    images = torch.randint(0, 256, (3, 3, 24, 32), dtype=torch.uint8)
    torch.testing.assert_close(detector.features(images), again.features(images), rtol=1e-4, atol=1e-4)
    assert again.calibration.threshold == detector.calibration.threshold
    np.testing.assert_array_equal(again.calibration.held_out, detector.calibration.held_out)
    earlier = json.loads((tmp_path / "kept" / FACTS).read_text())
    assert (
        again.calibration.weights == detector.calibration.weights and len(set(again.calibration.weights.values())) > 1
    )
    del earlier["suspects"], earlier["lighting"], earlier["turned"]
    assert earlier.pop("any_light") and facts.any_light
    facts = facts.model_copy(update={"any_light": False})
    (tmp_path / "kept" / FACTS).write_text(json.dumps(earlier))  # as written before these were looked for
    assert read_detector_facts(tmp_path / "kept") == facts
    (tmp_path / "kept" / FACTS).write_text(json.dumps(earlier | {"planted": {"memory": 0.5}}))
    with pytest.raises(UsageError, match="planted is of other scores than spreads"):
        read_detector_facts(tmp_path / "kept")
    with pytest.raises(UsageError, match="kept was fitted on another model than encoder 1 is now"):
        read_detector(tmp_path / "kept", facts, untrained(1))


def test_damaged_tensors_are_refused(tmp_path):
    write_detector(tmp_path, fitted(untrained(), draw_parts(tmp_path / "normal", 3)))
    tensors = {name: value.clone() for name, value in read_safetensors(tmp_path / TENSORS).items()}
    damages = {
        "memory.features": torch.zeros(4, 7),
        "memory.owners": torch.zeros(1, dtype=torch.int64),
        "density.roots": torch.full_like(tensors["density.roots"], float("nan")),
        "density.means": None,
        "pixels.axes": torch.zeros(48, 3),
        "pixels.features": torch.zeros(0, 16),
        "held_out": torch.zeros(2, 2, dtype=torch.float64),
    }
    for name, value in damages.items():
        changed = {**tensors, name: value} if value is not None else {n: v for n, v in tensors.items() if n != name}
        save_tensors(changed, tmp_path / TENSORS)
        with pytest.raises(
            UsageError, match=f"detector.safetensors is damaged: {name.replace('.', '[.]')}.*fit it again"
        ):
            read_detector(tmp_path, read_detector_facts(tmp_path), untrained())
