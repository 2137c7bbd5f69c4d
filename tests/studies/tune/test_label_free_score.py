"""The label-free score falls with each way of failing, and what it is worth is read from the study's file."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
from scipy.stats import spearmanr

from openjepa.studies.tune import label_free_score as score
from openjepa.studies.tune.label_free_score import agreement, label_free_score, rank_correlation, read_study

UNTRAINED = {"rank": 10.0, "positional_fraction": 0.3, "energy_gap": 0.0}
GOOD = {"rank": 25.0, "positional_fraction": 0.1, "energy_gap": 0.5}


def test_score_is_the_product_that_it_says():
    assert label_free_score(GOOD, UNTRAINED) == pytest.approx(2.5 * 0.5 * 0.9)
    for failing in ({"rank": 2.0}, {"positional_fraction": 0.95}, {"energy_gap": 0.02}, {"energy_gap": -0.1}):
        assert 0 <= label_free_score(GOOD | failing, UNTRAINED) < 0.2 * label_free_score(GOOD, UNTRAINED)


def test_rank_correlation_is_spearmans_and_0_where_there_is_none():
    one, other = [0.1, 0.5, 0.2, 0.9, 0.3], [1.0, 2.0, 4.0, 3.0, 0.5]
    assert rank_correlation(one, other) == pytest.approx(spearmanr(one, other).statistic)
    assert rank_correlation([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]) == 0.0
    assert rank_correlation([1.0, 2.0], [1.0, 2.0]) == 0.0


def test_agreement_is_within_groups():
    """Longer runs are better by either measure; that must not pass for a ranking of settings."""
    short = [{"group": "short", "score": s, "linear": a} for s, a in ((0.1, 0.3), (0.2, 0.2), (0.3, 0.1))]
    long = [{"group": "long", "score": s + 1, "linear": a + 1} for s, a in ((0.1, 0.3), (0.2, 0.2), (0.3, 0.1))]
    assert agreement(short) == agreement(short + long) == -1.0
    assert agreement([]) == 0.0


def plant_study(folder):
    """A study with labels, as tune leaves it: three runs that count, and those of another rung or that failed."""
    asked = {"data": "some/photos", "budget": "30m", "recipe": "laptop", "given": {"lr": 0.1}}
    about = {"request": asked, "plan": {"images": [800]}}
    folder.mkdir()
    (folder / "tune.json").write_text(json.dumps(about))
    record = {"candidate": "lr 1", "rung": 1, "changes": {}, "monitors": GOOD | {"std": 1.0}, "untrained": UNTRAINED}
    record |= {"score": label_free_score(GOOD, UNTRAINED)}
    records = [record | {"linear": value} for value in (0.3, 0.4, 0.5)] + [record | {"linear": 0.9, "rung": 2}, record]
    (folder / "trials.jsonl").write_text("".join(json.dumps(line) + "\n" for line in records))


def test_the_file_is_the_score_of_its_monitors(tmp_path, monkeypatch, capsys):
    """The one that comes with openjepa, and one that the script makes of a planted study."""
    own, planted = json.loads(score.STUDY.read_text())["runs"], tmp_path / "label_free.json"
    assert read_study() == own
    spec = importlib.util.spec_from_file_location("label_free", Path(__file__).parents[3] / "benchmarks/label_free.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    plant_study(tmp_path / "study")
    monkeypatch.setattr(script, "STUDY", planted)
    monkeypatch.setattr(score, "STUDY", planted)
    monkeypatch.setattr(sys, "argv", ["label_free.py", str(tmp_path / "study"), "--write"])
    script.main()
    assert "3 runs, linear 0.300 to 0.500" in capsys.readouterr().out
    command = "openjepa tune some/photos --out study --budget 30m --recipe laptop --lr 0.1"
    assert json.loads(planted.read_text())["studies"] == [command]
    assert [run["linear"] for run in read_study()] == [0.3, 0.4, 0.5]
    assert {run["group"] for run in read_study()} == {"photos, 800 images a run"}
    for run in [*own, *read_study()]:
        assert run["score"] == pytest.approx(label_free_score(run["monitors"], run["untrained"]), rel=1e-6)
        assert 0 <= run["linear"] <= 1 and run["group"]
