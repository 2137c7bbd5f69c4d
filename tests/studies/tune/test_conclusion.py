"""A lead is distinguished from noise, and the command has the settings that were found."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from plain import PLAIN

from openjepa.config import build_config
from openjepa.reports.studies.paper_ablations import ABLATIONS, trend
from openjepa.studies.tune.conclusion import conclusion, results_by_setting, winner_command
from openjepa.studies.tune.halving import Plan
from openjepa.studies.tune.start import Request
from openjepa.studies.tune.study import Study


def study_of(best, own, failed=False):
    """One rung: the recipe's three seeds a point apart in 10,000 answers, and two changes."""
    ground = SimpleNamespace(labelled=((), range(10_000)))

    def record(name, changes, value):
        measured = {} if value is None else {"linear": value}
        return {"candidate": name, "rung": 1, "changes": changes, "steps": 100, **measured}

    records = [
        record("recipe", {}, None if failed else own),
        record("recipe, seed 1", {"seed": 1}, own + 0.01),
        record("recipe, seed 2", {"seed": 2}, own - 0.01),
        record("num_targets 2", {"num_targets": 2}, best),
        record("lr 0.1", {"lr": 0.1}, None),
    ]
    plan = Plan([3], [5], [800], [1.0])
    return Study(Path("study"), ground, build_config(PLAIN, {"steps": 1}), {}, plan, {}, records)


@pytest.mark.parametrize(
    ("best", "own", "failed", "badge"),
    [
        (0.55, 0.50, False, "better"),
        (0.52, 0.50, False, "within noise"),
        (0.49, 0.50, False, "keep the recipe"),
        (0.40, 0.50, True, "better"),
    ],
)
def test_a_lead_is_distinguished_from_noise(best, own, failed, badge):
    found = conclusion(study_of(best, own, failed))
    assert found.text == badge
    assert "\n" not in found.sentence and ("diverges" in found.sentence) == failed


def test_results_stand_by_setting_beside_the_recipes_mean():
    assert results_by_setting(study_of(0.55, 0.50)) == {
        "num_targets": {4: pytest.approx(0.5), 2: 0.55},
        "lr": {1e-3: pytest.approx(0.5)},
    }


@pytest.mark.parametrize(("results", "expected"), [((0.3, 0.4), "same trend"), ((0.6, 0.55), "different trend")])
def test_blocks_stand_beside_the_paper_with_the_masks_that_they_were_tried_with(results, expected):
    study = study_of(0.5, 0.5)
    study.base = build_config(PLAIN, {"steps": 1, "masks": "random"})
    changes = [{}, {"num_targets": 1}, {"num_targets": 2}]
    study.records = study.records[:3] + [
        {"candidate": str(n), "rung": 1, "changes": {"masks": "multiblock"} | change, "linear": value}
        for n, (change, value) in enumerate(zip(changes, (0.5, *results), strict=True))
    ]
    assert results_by_setting(study)["num_targets, multiblock"] == {4: 0.5, 1: results[0], 2: results[1]}
    assert results_by_setting(study)["masks"] == {"random": pytest.approx(0.5), "multiblock": 0.5}
    (blocks,) = (ablation for ablation in ABLATIONS if ablation.setting == "num_targets")
    assert trend(blocks, results_by_setting(study)["num_targets, multiblock"], study.noise) == expected


@pytest.mark.parametrize("recipe", ["reference", "laptop"])  # laptop too: left out, pretrain would pick another
def test_the_command_has_what_was_given_and_what_was_found(recipe):
    request = Request("my photos", Path("study"), "2h", None, recipe, {"image_size": "64", "crop_scale": (0.5, 1.0)})
    assert winner_command(study_of(0.55, 0.5), request) == (
        f"openjepa pretrain 'my photos' --out study-pretrained --time 2h --recipe {recipe} "
        "--image-size 64 --crop-scale 0.5 1.0 --num-targets 2"
    )


def test_the_command_gives_switches_as_options_and_leaves_out_what_has_no_use():
    given = {"horizontal_flip": True, "target_aspect_ratio": (0.5, 2.0)}
    study = study_of(0.55, 0.5)
    study.records[3]["changes"] = {"masks": "random"}
    command = winner_command(study, Request("d", Path("study"), "2h", None, "laptop", given))
    assert command.endswith("--recipe laptop --horizontal-flip --masks random")
