"""tune as a person uses it: the best goes on, nothing runs twice, no labels no guess, and the winner's command runs."""

import json
import shlex
import sys
from types import SimpleNamespace

import pytest
from plain import PLAIN
from support.html_checks import check_stands_alone
from support.photos import draw_photos

import openjepa
from openjepa import cli
from openjepa.config import build_config
from openjepa.runs.images import open_images
from openjepa.studies.trial import prepare_trials, run_trial
from openjepa.studies.tune import costs, stored, study
from openjepa.studies.tune import start as tuning
from openjepa.studies.tune.conclusion import winner_command
from openjepa.studies.tune.halving import Costs

SMALL = {"image_size": 16, "batch_size": 8, "workers": 0, "precision": "float32", "log_every": 1}
FIXED = {
    "masks": "multiblock",
    "context_ratio": 0.2,
    "context_scale": (0.85, 1.0),
    "target_scale": (0.15, 0.2),
    "optimizer": "adamw",
    "weight_decay": (0.1, 0.1),
    "ema_momentum": (0.9, 1.0),
    "predictor_depth": 1,
    "predictor_dim": 32,
    "crop_scale": (0.3, 1.0),
    "masks_per_image": 1,
    "loss": "smooth_l1",
    "warmup": 0.1,
}
GIVEN = SMALL | FIXED  # what is left to change: lr (2), num_targets (4) and, being above 8, no batch size
BASELINE = {"linear": 0.4, "knn": 0.4}


@pytest.fixture
def planned(monkeypatch):
    """Costs by which a budget of 20 s comes to runs of 2 and of 6 steps or so, on any machine."""

    def planted(data, base, candidates):
        return Costs(dict.fromkeys(candidates, 0.05), "recipe", 0.05, 2, 0.1), {
            "untrained": BASELINE,
            "pixels": BASELINE,
        }

    monkeypatch.setattr(tuning, "measure_costs", planted)
    monkeypatch.setattr(costs, "_stepping", lambda data, config: (0.001, 0.1))
    monkeypatch.setattr(costs, "LEAST_STEPS", 1)


@pytest.fixture
def judged(monkeypatch):
    """Trials that are not run but judged by their settings; keeps what was asked for."""
    asked = []

    def fake(folder, data, config, steps, progress):
        asked.append((folder.name, steps))
        value = 0.5 + 0.1 * (config.num_targets == 2) + 0.05 * (config.lr > 1e-3) + 0.002 * config.seed
        now = {"rank": 20.0, "std": 1.0, "positional_fraction": 0.2, "energy_gap": 0.5, "ema_distance": 0.1}
        record = {"steps": steps, "images": 8 * steps, "seconds": 1.0, "monitors": now, "untrained": now}
        return record | {"linear": value, "knn": value}

    monkeypatch.setattr(study, "run_trial", fake)
    monkeypatch.setattr(study.Study, "noise", 0.01)
    monkeypatch.setattr("openjepa.commands.studies.tune.write_tune_page", lambda *_: None)
    return asked


def test_a_study_and_the_command_that_it_ends_with(planned, photos, tmp_path, capsys, monkeypatch):
    out = openjepa.tune(photos, out=tmp_path / "study", budget="20s", **GIVEN)
    plan = json.loads((out / "tune.json").read_text())["plan"]
    records = stored.read_trials(out)
    for record in records:
        assert record["images"] <= plan["images"][record["rung"] - 1] and record["steps"] >= 1
        assert {"monitors", "untrained", "linear", "knn", "seconds"} <= record.keys()
        assert openjepa.load_encoder(out / "trials" / record["folder"]).image_size == (16, 16)
        assert not (out / "trials" / record["folder"] / "checkpoints").exists()
    assert sum(r["rung"] == 1 for r in records) == plan["runs"][0]
    assert sum(0.05 * r["images"] + 0.1 for r in records) <= 20
    page = (out / "tune.html").read_text()
    for words in ("The winner", "All runs", "Mask strategy", "table 10", "Tables 7 ", "rank correlation"):
        assert words in " ".join(page.split())
    check_stands_alone(page)
    said = capsys.readouterr().out
    command = next(line for line in said.splitlines() if line.startswith("train with: "))
    words = shlex.split(command.removeprefix("train with: "))
    monkeypatch.setattr(sys, "argv", [*words, "--steps", "2"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    trained = json.loads((tmp_path / "study-pretrained" / "config.json").read_text())
    assert trained["steps"] == 2 and trained["settings"]["ema_momentum"] == [0.9, 1.0]


def test_the_best_go_on_with_the_recipe_and_the_best_together(planned, judged, photos, tmp_path):
    out = openjepa.tune(photos, out=tmp_path / "study", budget="20s", **GIVEN)
    records = stored.read_trials(out)
    second = {record["candidate"]: record for record in records if record["rung"] == 2}
    assert second.keys() == {"recipe", "num_targets 2", "lr 0.0015", "combined"}
    assert second["combined"]["changes"] == {"num_targets": 2, "lr": 0.0015}
    assert second["combined"]["steps"] == pytest.approx(3 * records[0]["steps"], abs=2)
    assert max(records, key=lambda r: r["linear"])["candidate"] == "combined"


def test_nothing_runs_twice(planned, judged, photos, tmp_path, monkeypatch, capsys):
    whole = study.run_trial

    def stopped(folder, *rest):
        if len(judged) == 4:
            raise KeyboardInterrupt
        return whole(folder, *rest)

    monkeypatch.setattr(study, "run_trial", stopped)
    with pytest.raises(KeyboardInterrupt):
        openjepa.tune(photos, out=tmp_path / "study", budget="20s", **GIVEN)
    assert f"openjepa tune {photos} --out {tmp_path / 'study'} --budget 20s --resume" in capsys.readouterr().out
    with (tmp_path / "study" / "trials.jsonl").open("a") as file:
        file.write('{"candidate": "lr 0.0')  # what kill -9 can leave
    monkeypatch.setattr(study, "run_trial", whole)
    openjepa.tune(photos, out=tmp_path / "study", budget="20s", resume=True, workers="0")  # as the command line has it
    names = [name for name, _ in judged]
    assert len(names) == len(set(names)) == len(stored.read_trials(tmp_path / "study"))
    openjepa.tune(photos, out=tmp_path / "study", budget="20s", resume=True)
    assert len(judged) == len(names)


def test_the_images_pick_the_recipe_and_the_winner_names_it(planned, judged, tmp_path, monkeypatch, capsys):
    """Photos are tuned at the size at which pretrain would train them; a study that is resumed still knows it."""
    photos, pages = draw_photos(tmp_path / "photos", side=80), []
    monkeypatch.setattr(
        "openjepa.commands.studies.tune.write_tune_page", lambda *found: pages.append(winner_command(*found))
    )
    given = {name: value for name, value in GIVEN.items() if name != "image_size"}
    for more in (given, {"resume": True, "budget": "20s"}):
        out = openjepa.tune(photos, **{"out": tmp_path / "study", "budget": "20s"} | more)
    base = json.loads((out / "tune.json").read_text())["base"]
    assert (base["image_size"], base["patch_size"]) == ("64", 8)
    assert "recipe laptop, vit_nano at 64 px with patches of 8" in capsys.readouterr().out
    assert pages[0] == pages[1]
    for words in ("--recipe laptop", "--image-size 64", "--patch-size 8", "--num-targets 2", "--ema-momentum 0.9 1.0"):
        assert words in pages[0]


def data_of(photos, config):
    return prepare_trials(str(photos), open_images(photos), None, config)


def test_a_trial_that_was_killed_ends_as_if_it_had_not_been(photos, tmp_path):
    config = build_config(PLAIN, GIVEN | {"steps": 8, "checkpoint_minutes": 0})
    data = data_of(photos, config)

    def killed(step, steps):
        if step == 5:
            raise SystemExit

    with pytest.raises(SystemExit):
        run_trial(tmp_path / "killed", data, config, 8, killed)
    resumed, whole = (run_trial(tmp_path / name, data, config, 8, lambda *_: None) for name in ("killed", "whole"))
    assert resumed["monitors"] == whole["monitors"] and resumed["linear"] == whole["linear"]


def test_a_trial_that_diverges_is_a_result(photos, tmp_path):
    config = build_config(PLAIN, GIVEN | {"steps": 6, "lr": 1e30, "warmup": 0.0})
    record = run_trial(tmp_path / "run", data_of(photos, config), config, 6, lambda *_: None)
    assert "the loss is" in record["failed"] and "linear" not in record


def test_without_labels_tune_asks_for_some(planned, judged, tmp_path):
    flat = draw_photos(tmp_path / "flat", 12, classes=())
    with pytest.raises(openjepa.UsageError, match=r"flat has no labels.*one folder a class.*--labelled"):
        openjepa.tune(flat, out=tmp_path / "study", budget="20s", **GIVEN)
    few = draw_photos(tmp_path / "few", 6)
    with pytest.raises(openjepa.UsageError, match=r"few holds too few labelled images: give a dozen or more"):
        openjepa.tune(flat, out=tmp_path / "study", budget="20s", labelled=few, **GIVEN)
    assert not (tmp_path / "study").exists()
    photos = draw_photos(tmp_path / "photos")
    openjepa.tune(flat, out=tmp_path / "study", budget="20s", labelled=photos, **GIVEN)
    assert len(judged) == 13 and "linear" in stored.read_trials(tmp_path / "study")[0]


def test_refusals(planned, photos, tmp_path, monkeypatch):
    def refused(match, **given):
        with pytest.raises(openjepa.UsageError, match=match) as error:
            openjepa.tune(photos, **{"out": tmp_path / "study", "budget": "20s"} | GIVEN | given)
        assert "\n" not in str(error.value) and not (tmp_path / "study").exists()

    refused("--budget soon is not a duration", budget="soon")
    refused("setting steps is not known", steps=3)  # --budget decides it
    refused("setting batchsize is not known.*batch_size", batchsize=3)
    refused("holds no study to resume", resume=True)
    refused("every setting that tune would change is given", lr=1e-3, num_targets=3)
    refused("context_ratio 0.9", context_ratio=0.9)
    refused("flat has no labels to measure by", labelled=draw_photos(tmp_path / "flat", 12, classes=()))
    monkeypatch.setattr(costs, "LEAST_STEPS", 50)
    refused("--budget 20 s is too small to try 6 changes.*give --budget 10m", budget="20s")


def test_a_budget_that_is_far_too_small_is_refused_before_all_is_timed(photos, tmp_path, monkeypatch):
    timed = []
    monkeypatch.setattr(costs, "_stepping", lambda data, config: timed.append(config) or (1.0, 1.0))
    with pytest.raises(openjepa.UsageError, match=r"--budget 20 s is too small to try 6 changes.*give --budget \d+m"):
        openjepa.tune(photos, out=tmp_path / "study", budget="20s", **GIVEN)
    assert len(timed) == 1 and not (tmp_path / "study").exists()


def test_resume_refuses_another_study(planned, judged, photos, tmp_path):
    out = openjepa.tune(photos, out=tmp_path / "study", budget="20s", **GIVEN)
    for given, said in (({"budget": "30s"}, "--budget 20s, not"), ({"batch_size": 16}, "--batch-size 8, not")):
        with pytest.raises(openjepa.UsageError, match=said):
            openjepa.tune(photos, out=out, resume=True, **{"budget": "20s"} | given)
    next(photos.rglob("*.jpg")).unlink()
    with pytest.raises(openjepa.UsageError, match="other images"):
        openjepa.tune(photos, out=out, resume=True, budget="20s")
    (out / "tune.json").write_text("{")
    with pytest.raises(openjepa.UsageError, match="damaged"):
        openjepa.tune(photos, out=out, resume=True, budget="20s")


def test_measured_costs_and_baselines(photos):
    config = build_config(PLAIN, GIVEN | {"steps": 1})
    tried = {"recipe": {}, "lr 1": {"lr": 1.0}, "four": {"num_targets": 4}, "wide": {"predictor_dim": 64}}
    found, baselines = costs.measure_costs(data_of(photos, config), config, tried)
    assert found.image["lr 1"] == found.image["recipe"] > 0  # the same steps are not measured twice
    assert found.combined >= max(found.image.values()) and found.run > 0
    assert baselines["pixels"]["linear"] == 1.0  # the two classes differ in colour


@pytest.mark.parametrize(
    ("seconds", "given", "rungs"),
    [
        (29_400.0, {}, 2),  # three rungs would begin with runs of 300 steps, and EMA .99 asks for 345
        (39_200.0, {}, 3),  # with 400
        (29_400.0, {"ema_momentum": (0.97, 1.0)}, 3),
        (39_200.0, {"ema_momentum": (0.996, 1.0)}, 2),
    ],
)
def test_rungs_are_given_up_for_first_runs_that_outlast_their_first_targets(seconds, given, rungs):
    base, tried = build_config(PLAIN, {"steps": 1, "batch_size": 1} | given), {str(k): {} for k in range(27)}
    alike = Costs(dict.fromkeys(tried, 1.0), "0", combined=1.0, repeats=2, run=0.0)
    assert len(costs.plan_study(alike, base, tried, seconds, 0.0).sizes) == rungs


def test_noise_is_what_seeds_differ_by_and_no_less_than_the_sample_allows():
    records = [{"rung": 1, "changes": {"seed": s} if s else {}, "linear": v} for s, v in enumerate((0.5, 0.6, 0.7))]
    records.append({"rung": 1, "changes": {"lr": 1.0}, "linear": 0.1})
    many, few = (SimpleNamespace(labelled=((), range(n))) for n in (10_000, 16))
    spread = [study.Study(None, data, None, {}, None, {}, records).noise for data in (many, few)]
    assert spread == pytest.approx([0.1, 0.125])
