"""tune.json and trials.jsonl are read back as they were written; whatever else they hold is one line."""

import dataclasses
import json

import pytest

from openjepa.config import Config
from openjepa.errors import UsageError
from openjepa.studies.tune.stored import read_study, read_trials

PLAN = {"sizes": [2, 1], "runs": [4, 2], "images": [100, 300], "seconds": [1.0, 2.0]}
REQUEST = {
    "data": "photos",
    "out": "study",
    "budget": "20s",
    "labelled": None,
    "recipe": "laptop",
    "given": {"lr": 0.1},
}
SCORES = {"linear": 0.5, "knn": 0.4}
STUDY = {
    "request": REQUEST,
    "base": dataclasses.asdict(Config()),
    "tried": {"lr 0.1": {"lr": 0.1}, "crop_scale 0.3 1": {"crop_scale": [0.3, 1.0]}},
    "plan": PLAN,
    "baselines": {"untrained": SCORES, "pixels": SCORES},
    "paths": "abc",
}
TRIAL = {"candidate": "lr 0.1", "rung": 1, "changes": {"lr": 0.1}, "folder": "1-lr-0.1", "steps": 5, "images": 80}
TRIAL |= {"seconds": 1.5, "monitors": {"rank": 2.0}, "untrained": {"rank": 3.0}, **SCORES}


def test_a_study_is_read_as_it_was_written(tmp_path):
    (tmp_path / "tune.json").write_text(json.dumps(STUDY))
    planned = read_study(tmp_path / "tune.json")
    assert planned.base == Config() and planned.tried["crop_scale 0.3 1"] == {"crop_scale": (0.3, 1.0)}
    assert (planned.plan.images, planned.baselines["pixels"], planned.given) == ([100, 300], SCORES, {"lr": 0.1})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"request": None}, "request is null"),
        ({"base": dataclasses.asdict(Config()) | {"batch_size": -1}}, "--batch-size -1 is not possible"),
        ({"base": {"nothing": 1}}, "has the unknown setting nothing"),
        ({"tried": {"x": {"lr": -1}}}, "--lr -1 is not possible"),
        ({"tried": {"x": {"device": "cpu"}}}, "device is no setting that tune changes"),
        ({"plan": PLAN | {"images": [-1, 5]}}, "plan.images.0 is -1"),
        ({"plan": PLAN | {"runs": [4]}}, "other lengths"),
        ({"plan": PLAN | {"seconds": [float("nan"), 1]}}, "plan.seconds.0 is NaN"),
        ({"baselines": {"pixels": SCORES}}, "baselines.untrained is missing"),
        ({"openjepa_version": "9.9.9"}, "was written by openjepa 9.9.9"),
    ],
)
def test_what_is_wrong_with_a_study_is_named(tmp_path, change, said):
    (tmp_path / "tune.json").write_text(json.dumps(STUDY | change))
    with pytest.raises(UsageError) as caught:
        read_study(tmp_path / "tune.json")
    assert said in str(caught.value) and str(tmp_path / "tune.json") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_folder_of_a_trial_follows_from_its_name(tmp_path):
    (tmp_path / "trials.jsonl").write_text(json.dumps(TRIAL | {"folder": "../../elsewhere"}) + '\n{"candidate": "cut')
    (record,) = read_trials(tmp_path)
    assert record["folder"] == "1-lr-0.1" and record["linear"] == 0.5


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rung": 0}, "rung is 0"),
        ({"linear": 7}, "linear is 7"),
        ({"monitors": None}, "linear, knn, monitors or untrained is missing"),
        ({"monitors": {"std": 1.0}}, "monitors has no rank"),
        ({"changes": {"nothing": 1}}, "has the unknown setting nothing"),
        ({"steps": "5"}, "steps is 5"),
    ],
)
def test_what_is_wrong_with_a_trial_is_named(tmp_path, change, said):
    (tmp_path / "trials.jsonl").write_text(json.dumps(TRIAL | change))
    with pytest.raises(UsageError, match=r"trials\.jsonl, line 1") as caught:
        read_trials(tmp_path)
    assert said in str(caught.value)
