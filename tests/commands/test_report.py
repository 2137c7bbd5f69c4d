"""report as a user runs it: one file that stands alone, also for runs not finished or without their data."""

import json
import shutil
from collections import Counter

import pytest
from support.html_checks import check_stands_alone
from support.photos import draw_photos

import openjepa

SMALL = {"image_size": 16, "batch_size": 8, "predictor_depth": 1, "workers": 0, "steps": 4, "context_ratio": 0.2}
NASTY = "<script>alert(1)<"  # without the slash of a closing tag, which no folder can have


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run on two classes, one with a name that would be markup."""
    folder = tmp_path_factory.mktemp("report")
    photos = draw_photos(folder / "photos", 12, classes=("cat", NASTY))
    openjepa.pretrain(str(photos), out=folder / "run", **SMALL)
    return folder / "run"


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


def measured(run, test="<i>held out</i>"):
    protocol = {"test": test, "test_images": 400}
    rows = (("pixels", 0.4), ("untrained", 0.5), (str(run), 0.75))
    records = [
        {"model": model, "task": "knn", "value": v, "low": v - 0.1, "high": v + 0.1, "protocol": protocol}
        for model, v in rows
    ]
    (run / "evaluation.json").write_text(json.dumps(records))


def test_the_page_of_a_finished_run_stands_alone(run, finished):
    measured(run)
    photos = finished.parent / "photos"
    page = openjepa.report(run, data=photos)
    assert page == run / "report.html"
    text = page.read_text()
    tags = check_stands_alone(text)
    assert "<i>held" not in text and "&lt;script&gt;alert(1)&lt;" in text
    for words in ("Images and model", "Model run: better than pixels and untrained, in k-NN.", "Effective rank"):
        assert words in text
    for words in ("<h2>Masks", "<h2>What the model expects", "<h2>Patch representations", "<h2>Nearest neighbours"):
        assert words in text
    assert "Reproduce this run" in text
    names = [attributes["title"] for name, attributes in tags.seen if name == "img"]
    assert all(name.endswith(".jpg") for name in names)
    titles = Counter(name.split(": ")[0] if ": " in name else name for name in names)
    assert titles["image"] == titles["trained"] == titles["untrained"] == sum("masks of step" in t for t in titles) > 1
    assert titles["hidden"] == titles["expected"] == titles["true"] == 4
    neighbours = [t for t in titles if t.endswith(".jpg") and "masks of step" not in t]
    assert sum(titles[t] for t in neighbours) == text.count('class="tile') > 2
    assert page.read_text() == openjepa.report(run, data=photos).read_text()


def test_without_a_measurement_the_command_for_one(run):
    text = openjepa.report(run).read_text()
    assert "Not measured yet" in text and "openjepa evaluate" in text
    stored = json.loads((run / "config.json").read_text())
    stored["found"]["classes"] = {}
    (run / "config.json").write_text(json.dumps(stored))
    text = openjepa.report(run).read_text()
    assert "no labels to measure the encoder by" in text and "openjepa embed" in text
    assert "LABELLED" not in text
    assert f"{stored['data']} --annotations BOXES --tasks count" in text and ".csv or .xlsx" in text


def test_images_that_only_the_run_names_are_not_opened(run, finished, tmp_path, capsys, monkeypatch):
    stored = json.loads((run / "config.json").read_text())
    for name in ("/proc", "http://127.0.0.1:9/x.zip", "hf:somebody/photos", str(tmp_path / "gone")):
        (run / "config.json").write_text(json.dumps(stored | {"data": name}))
        with monkeypatch.context() as patched:
            patched.setattr("openjepa.reports.run_pictures.open_dataset", None)
            text = openjepa.report(run).read_text()
            with pytest.raises(openjepa.UsageError, match=r"--show a\.jpg needs the images of the run"):
                openjepa.report(run, show=["a.jpg"])
    assert "<img" not in text and "Without pictures" in text and "Effective rank" in text
    assert "--data" in capsys.readouterr().out
    text = openjepa.report(run, data=str(finished.parent / "photos")).read_text()
    assert "<img" in text and "Without pictures" not in text and "The pictures show images of" in text
    with pytest.raises(openjepa.UsageError, match="does not exist"):
        openjepa.report(run, data=str(tmp_path / "nowhere"))


def test_a_run_that_has_not_finished(run, capsys):
    shutil.rmtree(run / "encoder")
    lines = (run / "metrics.jsonl").read_text().splitlines()
    (run / "metrics.jsonl").write_text(lines[0] + "\n" + lines[1][:10])
    text = openjepa.report(run).read_text()
    assert "Not finished: step 0 of 4" in text and "--resume" in text and "Effective rank" in text
    assert "Results" not in text and "Patch representations" not in text
    assert "Not finished" in capsys.readouterr().out
    (run / "metrics.jsonl").unlink()
    assert "no step was logged" in openjepa.report(run).read_text().lower()


def test_folders_that_are_no_run(run, tmp_path):
    for folder, said in ((tmp_path / "nothing", "does not exist"), (tmp_path, "no run"), (run / "encoder", "no run")):
        with pytest.raises(openjepa.UsageError, match=said):
            openjepa.report(folder)
    assert not (run / "encoder" / "report.html").exists()
    (run / "evaluation.json").write_text('[{"model": "x"}]')
    with pytest.raises(openjepa.UsageError, match=r"evaluation.json is damaged: 0.task is missing: write it again"):
        openjepa.report(run)
