"""compare as a person uses it: everything is measured once, it resumes, and its page stands alone."""

import csv
import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from support.html_checks import check_stands_alone
from support.photos import draw_photos

import openjepa
from openjepa import cli
from openjepa.console import console
from openjepa.errors import UsageError
from openjepa.evaluation.results import in_units
from openjepa.files.lock import taken
from openjepa.studies.compare import study as study_module

TINY = {"image_size": 16, "batch_size": 6, "workers": 0, "precision": "float32", "device": "cpu"}
ASKED = {"methods": "vicreg", "budget": "images:12", "seeds": 2, "views": "both", **TINY}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A comparison of two contenders with two seeds on 24 pictures."""
    folder = tmp_path_factory.mktemp("compare")
    photos = draw_photos(folder / "photos")
    return photos, openjepa.compare(photos, out=folder / "study", **ASKED)


@pytest.fixture
def copy(made, tmp_path):
    shutil.copytree(made[1], tmp_path / "study")
    return made[0], tmp_path / "study"


def test_every_run_and_baseline_is_measured_and_shown(made):
    _, study = made
    trials = [json.loads(line) for line in (study / "trials.jsonl").read_text().splitlines()]
    runs = [(trial["name"], trial["seed"]) for trial in trials]
    names = ("vicreg", "vicreg, crops")
    assert runs == [("pixels", None), ("untrained", None), *((name, seed) for seed in (0, 1) for name in names)]
    results = json.loads((study / "results.json").read_text())
    measured = {(record["model"], record["task"]) for record in results["records"]}
    assert measured == {
        (n, t) for n in (*names, "pixels", "untrained") for t in ("linear", "knn", "fewshot-1%", "fewshot-10%")
    }
    assert all(
        0 <= record["value"] <= 1 and record["low"] <= record["value"] <= record["high"]
        for record in results["records"]
    )
    (own,) = (r for r in results["records"] if (r["model"], r["task"]) == ("vicreg", "linear"))
    assert own["value"] == pytest.approx(np.mean(own["protocol"]["values"])) and len(own["protocol"]["values"]) == 2
    assert results["costs"]["vicreg"]["steps"] == 2 and results["costs"]["vicreg"]["operations"] > 0
    text = (study / "compare.html").read_text()
    check_stands_alone(text)
    assert all(sentence[:40] in text for sentence in results["sentences"])
    assert (study / "trials/vicreg-crops-seed-1/encoder/model.safetensors").is_file()


@pytest.mark.parametrize("width", [80, 200])
def test_the_table_is_printed_and_written_beside_the_records(copy, monkeypatch, capsys, width):
    photos, study = copy
    (study / "results.csv").unlink()
    monkeypatch.setattr(console, "_width", width)
    openjepa.compare(photos, out=study, resume=True, **ASKED)  # all is there, and printed again
    results = json.loads((study / "results.json").read_text())
    head, *rows = csv.reader((study / "results.csv").read_text().splitlines())
    assert head[:5] == ["method", "measure", "mean", "low", "high"] and head[-2:] == ["seed 0", "seed 1"]
    for record, row in zip(results["records"], rows, strict=True):
        assert row[:2] == [record["model"], record["task"]]
        assert [*map(float, row[2:5])] == [record[key] for key in ("value", "low", "high")]
        trained = record["model"].startswith("vicreg")
        assert [*map(float, filter(None, row[-2:]))] == (record["protocol"]["values"] if trained else [])
    lines = [line for line in capsys.readouterr().out.splitlines() if " to " in line and "  " in line]
    assert max(map(len, lines)) <= width
    for record in results["records"]:
        shown = "{}  {} to {}".format(*in_units(record))
        assert any(line.split("  ")[1].strip() == record["model"] and shown in line for line in lines)


def test_resume_runs_what_is_missing_to_the_same_results(copy, monkeypatch):
    photos, study = copy
    lines, before = (study / "trials.jsonl").read_text().splitlines(), json.loads((study / "results.json").read_text())
    (study / "trials.jsonl").write_text("\n".join([*lines[:-1], lines[-1][:30]]))
    shutil.rmtree(study / "trials/vicreg-crops-seed-1")
    run, trained = study_module.run_trial, []

    def counted(folder, *rest, **options):
        trained.append(folder.name)
        return run(folder, *rest, **options)

    monkeypatch.setattr(study_module, "run_trial", counted)
    openjepa.compare(photos, out=study, resume=True, device="cpu")  # what is not given again is as it was
    after = json.loads((study / "results.json").read_text())
    assert trained == ["vicreg-crops-seed-1"]
    assert after["records"] == before["records"] and after["differences"] == before["differences"]


def test_an_interrupt_keeps_what_is_done_and_names_the_command(copy, monkeypatch, capsys):
    photos, study = copy
    lines = (study / "trials.jsonl").read_text().splitlines(keepends=True)
    (study / "trials.jsonl").write_text("".join(lines[:3]))

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(study_module, "run_trial", interrupted)
    with pytest.raises(KeyboardInterrupt):
        openjepa.compare(photos, out=study, resume=True, **ASKED)
    assert "finished runs are kept. Resume with: openjepa compare" in capsys.readouterr().out
    assert (study / "trials.jsonl").read_text() == "".join(lines[:3])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": 3}, "was started with --seeds 2, not --seeds: give what was given then to resume"),
        ({"methods": "mae"}, "was started with --methods vicreg, not --methods"),
        ({"image_size": 32}, "was started with --image-size 16, not --image-size"),
        ({"beside": "pixels"}, "was started with"),
    ],
)
def test_another_comparison_is_not_resumed(copy, changes, message):
    with pytest.raises(UsageError, match=message):
        openjepa.compare(copy[0], out=copy[1], resume=True, **ASKED | changes)


def lie(name, change):
    def damage(study):
        path = study / name
        path.write_text(change(path.read_text()))

    return damage


def other_answers(study):
    path = study / "trials/vicreg-seed-0/answers.safetensors"
    scores = load_file(path)
    save_file({name: torch.full_like(value, 7) for name, value in scores.items()}, path)


def shorter_answers(study):
    path = study / "trials/vicreg-seed-0/answers.safetensors"
    save_file({name: value[1:].clone() for name, value in load_file(path).items()}, path)


@pytest.mark.parametrize(
    "damage",
    [
        shorter_answers,
        lie("trials.jsonl", lambda text: text.replace("train_images", "unknown", 1)),
        lie("trials.jsonl", lambda text: text.replace('"linear"', '"knn"', 1)),
        lie("trials.jsonl", lambda text: text.replace("vicreg-seed-0", "../../x")),
        lie("trials.jsonl", lambda text: text.replace('"seed": 1', '"seed": 9').replace("seed-1", "seed-9")),
        lie("compare.json", lambda text: text.replace('"steps": 2', '"steps": -2')),
        lie("compare.json", lambda text: text.replace('"beside": []', '"beside": ["/etc/passwd"]')),
        lie("compare.json", lambda text: text.replace('"labelled": null', '"labelled": "hf://stranger"')),
        lie("compare.json", lambda text: text.replace('"method": "vicreg"', '"method": "mae"')),
        other_answers,
        lambda study: (study / "trials/vicreg-seed-0/answers.safetensors").unlink(),
    ],
)
def test_a_damaged_study_is_refused_in_one_line(copy, damage):
    damage(copy[1])
    with pytest.raises(UsageError) as error:
        openjepa.compare(copy[0], out=copy[1], resume=True, **ASKED)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": "simclear"}, "--methods simclear is not known"),
        ({"budget": "soon"}, "--budget soon is not understood"),
        ({"seeds": 0}, "--seeds 0 is not possible"),
        ({"tune": 2}, "--tune 2 is not possible: give the trials of each method, from 3 to 9"),
        ({"batch_size": 1}, "--batch-size 1 is not possible with --method vicreg"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_is_written(made, tmp_path, changes, message):
    with pytest.raises(UsageError, match=message):
        openjepa.compare(made[0], out=tmp_path / "study", **ASKED | changes)
    assert not (tmp_path / "study").exists() or not any((tmp_path / "study").iterdir())


def without_parts(study, *folders):
    """Take these parts of a study away, as if nobody had done them."""
    lines = (study / "trials.jsonl").read_text().splitlines(keepends=True)
    kept = [line for line in lines if json.loads(line)["folder"] not in folders]
    (study / "trials.jsonl").write_text("".join(kept))
    for name in folders:
        shutil.rmtree(study / "trials" / name)
    for name in ("results.json", "results.csv", "compare.html"):
        (study / name).unlink()


def test_processes_share_a_study_and_the_last_writes_the_page(copy, capsys):
    photos, study = copy
    before = json.loads((study / "results.json").read_text())
    without_parts(study, "untrained", "vicreg-seed-1", "vicreg-crops-seed-1")
    with taken(study / "trials/vicreg-crops-seed-1.lock"):  # another process trains it
        openjepa.compare(photos, out=study, only="vicreg, crops", seed=1, device="cpu")
        said = capsys.readouterr().out
        assert "missing: vicreg, seed 1\n" in said and "missing: vicreg, crops, seed 1 in progress" in said
        assert "untrained" not in said.split("missing")[-1] and not (study / "compare.html").exists()
        openjepa.compare(photos, out=study, collect=True, device="cpu")
    assert "2 of 6 parts are missing (vicreg and vicreg, crops)" in (study / "compare.html").read_text()
    assert json.loads((study / "results.json").read_text())["missing"] == [["vicreg", 1], ["vicreg, crops", 1]]
    openjepa.compare(photos, out=study, only="vicreg", seed=1, device="cpu")
    assert not list(study.glob("trials/*.lock"))
    capsys.readouterr()
    (study / "trials.jsonl").open("a").write('{"name": "vic')  # a process was killed as it wrote
    openjepa.compare(photos, out=study, only="vicreg", device="cpu")  # both contenders of the method, all seeds
    assert "missing" not in capsys.readouterr().out
    after = json.loads((study / "results.json").read_text())
    assert after["records"] == before["records"] and after["missing"] == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"only": "mae"}, "--only mae is not known: known are vicreg, "),
        ({"only": "vicreg", "seed": 7}, "--seed 7 is none of this study: give one from 0 to 1"),
        ({"only": "pixels", "seed": 1}, "--seed 1 has no effect with --only pixels"),
        ({"only": "vicreg", "budget": "1m"}, "was started with --budget images:12, not --budget"),
        ({"only": "vicreg", "collect": True}, "--collect trains nothing: leave out --only"),
    ],
)
def test_a_part_that_is_none_of_the_study_is_refused_in_one_line(copy, options, message):
    with pytest.raises(UsageError, match=message) as error:
        openjepa.compare(copy[0], out=copy[1], device="cpu", **options)
    assert "\n" not in str(error.value)


def test_the_commands_of_the_page_are_possible_and_the_last_of_them_do_what_it_says(copy, monkeypatch, capsys):
    text = (Path(__file__).parents[2] / "docs/compare.md").read_text()
    lines = re.findall(r"^(?:torchrun .* -m )?(openjepa compare .*)$", text, re.MULTILINE)
    assert len(lines) >= 8
    for line in lines:
        assert cli.parse(shlex.split(line)[1:])[0].name == "compare"
    monkeypatch.chdir(copy[1].parent)
    (copy[1] / "compare.html").unlink()
    for line in (line for line in lines if "--collect" in line or line.endswith("--resume")):
        words = shlex.split(line.replace("photos/", str(copy[0])).replace("runs/compare", str(copy[1])))
        assert cli.status_of([*words[1:], "--device", "cpu"]) == 0, capsys.readouterr().err
    assert (copy[1] / "compare.html").is_file()


def test_settings_are_chosen_and_every_measure_is_of_the_page_and_read_back(made, tmp_path, monkeypatch):
    """Under torchrun a process does its share, here all of it."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    options = TINY | {"methods": "mae", "budget": "operations:1e6", "seeds": 1}
    tasks = "linear,retrieval,probe-appearance,robustness"
    study = openjepa.compare(made[0], out=tmp_path / "study", tasks=tasks, tune=3, **options)
    results = json.loads((study / "results.json").read_text())
    records, chosen = results["records"], results["tuning"]["mae"]["trials"]
    assert [sorted(trial["changes"]) for trial in chosen[:2]] == [[], ["lr"]] and "crop_scale" in chosen[2]["changes"]
    best = max(chosen, key=lambda trial: trial["linear"])["changes"]
    settings = json.loads((study / "trials/mae-seed-0/config.json").read_text())["settings"]
    assert all(settings[name] == value for name, value in best.items())
    assert "3 short" in (study / "compare.html").read_text() and not (study / "trials/mae-tuning").exists()
    metrics = {record["task"]: record["metric"] for record in records if record["model"] == "mae"}
    assert metrics["mAP"] == "mAP" and metrics["appearance:colour"] == "R2" and metrics["semantics:class"] == "skill"
    assert metrics["robust-clean"] == "accuracy" and len(metrics) > 10
    assert all(record["low"] <= record["value"] <= record["high"] for record in records)
    assert (study / "trials/mae-seed-0/encoder/model.safetensors").is_file()


def test_runs_too_short_for_a_probe_in_between_have_no_curve_of_it(copy, monkeypatch):
    monkeypatch.setattr("openjepa.reports.studies.compare_page.curve", lambda *_: [])
    openjepa.compare(copy[0], out=copy[1], collect=True, device="cpu")
    page = (copy[1] / "compare.html").read_text()
    assert "Effective rank" in page and "linear probe over the runs" not in page
