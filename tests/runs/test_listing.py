"""`openjepa runs DIR` lists every run with what it is, and what is none in a line; it never crashes."""

import csv
import json
import sys
from pathlib import Path

import pytest
from support.sheets import sheet_values

import openjepa
from openjepa.cli import main
from openjepa.errors import UsageError
from openjepa.files.lock import locked

STORED = json.loads((Path(__file__).parent / "stored_configs.json").read_text())["7422c99"]


def make(folder, record=None, finished=False, **settings):
    """A run folder with these settings, without its weights."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({**STORED, "settings": STORED["settings"] | settings}))
    if record:
        (folder / "metrics.jsonl").write_text(json.dumps(record) + "\n")
    if finished:
        (folder / "encoder").mkdir()
        (folder / "encoder" / "openjepa.json").write_text('{"step": 2}')
    return folder


@pytest.fixture
def runs(tmp_path):
    folder = tmp_path / "runs"
    end = {"step": 2, "status": "healthy", "verdict": "healthy: it learns", "rank": 31.5, "knn": 0.5, "linear": 0.625}
    make(folder / "a", end, finished=True)
    make(folder / "deep" / "er" / "b", {"step": 1, "status": "weak", "verdict": "weak: low", "rank": 8.0}, lr=1e-3)
    make(folder / "c", seed=3, workers=7, log_every=3)
    (make(folder / "damaged") / "config.json").write_text('{"settings": ')
    make(folder / "later", foo=1)
    (folder / "photos").mkdir()
    (folder / "weights").mkdir()
    (folder / "weights" / "config.json").write_text('{"model_type": "vit"}')
    (folder / "tuned").mkdir()
    (folder / "tuned" / "finetuning.json").write_text("{}")
    (folder / "notes.txt").write_text("")
    return folder


def test_each_run_is_listed_with_what_differs(runs):
    rows = {row["run"]: row for row in openjepa.list_runs(runs)}
    a, b, c = rows["a"], rows["deep/er/b"], rows["c"]
    assert (a["status"], a["done"], a["steps"], a["images"], a["verdict"]) == ("finished", 2, 2, 40, "healthy")
    assert (a["rank"], a["knn"], a["linear"], a["problem"]) == (31.5, 0.5, 0.625, None)
    assert (b["status"], b["done"], b["verdict"], b["linear"]) == ("stopped", 1, "weak", None)
    assert a["settings"] == {"lr": 5e-4, "seed": 0} and b["settings"] == {"lr": 1e-3, "seed": 0}
    assert c["settings"]["seed"] == 3 and (c["verdict"], c["done"]) == (None, 0)


def test_what_is_no_run_or_damaged_is_one_line(runs, capsys):
    rows = {row["run"]: row for row in openjepa.list_runs(runs)}
    assert {name: rows[name]["status"] for name in ("damaged", "later", "weights", "photos", "tuned")} == {
        "damaged": "damaged", "later": "damaged", "weights": "no run", "photos": "no run", "tuned": "fine-tuning"
    }  # fmt: skip
    said = capsys.readouterr().out.splitlines()
    assert "photos: no run" in said and "3 runs in" in said[-1]
    assert sum(line.startswith("damaged: ") for line in said) == 1
    assert sum("has the unknown setting foo" in line for line in said) == 1


def test_a_run_that_trains_is_listed(runs):
    with locked(runs / "c"):
        assert {row["run"]: row["status"] for row in openjepa.list_runs(runs)}["c"] == "training"
    assert {row["run"]: row["status"] for row in openjepa.list_runs(runs)}["c"] == "stopped"


@pytest.mark.parametrize(
    "content", ["", "[]", "null", '{"settings": 3}', '{"settings": {}}', "[" * 10**5, '{"settings": {"lr": 1e999}}']
)
def test_hostile_files_are_one_line(tmp_path, content):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text(content)
    (tmp_path / "run" / "metrics.jsonl").mkdir()
    (row,) = openjepa.list_runs(tmp_path)
    assert row["status"] == "damaged" and "\n" not in row["problem"]


def test_the_command_fits_80_columns_and_writes_files(runs, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("openjepa.console.console.width", 80, raising=False)
    words = ["runs", str(runs), "--json", str(tmp_path / "r.json"), "--csv", str(tmp_path / "r.csv")]
    words += ["--xlsx", str(tmp_path / "r.xlsx")]
    for _ in range(2):  # its own outputs are replaced
        monkeypatch.setattr(sys, "argv", ["openjepa", *words])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == 0
    said = capsys.readouterr().out
    table = said[: said.index("damaged:")]
    assert all(len(line) <= 80 for line in table.splitlines()) and "--lr 0.001" in table and "1 of 2" in table
    assert json.loads((tmp_path / "r.json").read_text())[0]["run"] == "a"
    assert [row[0] for row in sheet_values(tmp_path / "r.xlsx")][:3] == ["run", "a", "c"]
    with (tmp_path / "r.csv").open() as file:
        assert [row["run"] for row in csv.DictReader(file)][:2] == ["a", "c"]


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(UsageError, match="is no folder: give one that holds runs"):
        openjepa.list_runs(tmp_path / "nothing")
    assert openjepa.list_runs(tmp_path) == []
