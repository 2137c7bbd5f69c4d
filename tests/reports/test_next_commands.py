"""What a run says to do next works as it stands, from the terminal and from the report."""

import html
import re
import shlex

import pytest
from support.photos import draw_photos

import openjepa
from openjepa.cli import status_of

pytestmark = pytest.mark.usefixtures("reports")
SMALL = {"image_size": 16, "batch_size": 8, "predictor_depth": 1, "workers": 0, "steps": 4, "context_ratio": 0.2}


def said_next(printed):
    """The commands that a run printed at its end."""
    _, _, after = printed.partition("next:\n")
    return re.findall(r"^  to [^:]+: (.+)$", after, re.MULTILINE)


def trained(folder, classes, capsys):
    """A run on images in these classes, the commands that it printed, and the text of its report."""
    photos = draw_photos(folder / "my photos", 24, classes=classes)
    openjepa.pretrain(str(photos), out=folder / "run", **SMALL)
    page = re.sub("<[^>]+>", "", (folder / "run" / "report.html").read_text())
    return photos, said_next(capsys.readouterr().out), html.unescape(page)


@pytest.mark.parametrize("classes", [(), ("cat",)])
def test_what_is_said_of_images_without_labels_works(tmp_path, capsys, monkeypatch, classes):
    photos, (longer, *commands), page = trained(tmp_path, classes, capsys)
    assert longer in page and shlex.split(longer)[-3:-1] == ["--resume", "--steps"]
    words = [shlex.split(command) for command in commands]
    assert [" ".join(each[1:3]).split(str(tmp_path))[0].strip() for each in words] == [
        "index",
        "search",
        "curate outliers",
        "embed",
    ]
    for command, each in zip(commands, words, strict=True):
        assert command in page and status_of(each[1:]) == 0, command
    assert (tmp_path / "run.index").is_dir() and (tmp_path / "run.parquet").is_file()
    assert "no labels to measure the encoder by" in page and not re.search(r"evaluate \S+ \S+ &&", page)
    assert sorted(path.name for path in photos.iterdir())[:2] == (["cat"] if classes else ["000.jpg", "001.jpg"])


def test_of_images_with_labels_it_is_how_to_measure(tmp_path, capsys):
    photos, commands, page = trained(tmp_path, ("cat", "dog"), capsys)
    assert [shlex.split(command)[:4] for command in commands] == [
        ["openjepa", "evaluate", str(tmp_path / "run"), str(photos)]
    ]
    assert commands[0] in page and "Not measured yet" in page
    for command in commands[0].split(" && "):
        assert status_of(shlex.split(command)[1:]) == 0
    after = [shlex.split(command) for command in said_next(capsys.readouterr().out)]
    assert [words[1] for words in after if "--resume" not in words] == ["index", "search", "curate", "embed"]
    page = html.unescape(re.sub("<[^>]+>", "", (tmp_path / "run" / "report.html").read_text()))
    assert all(shlex.join(words) in page for words in after)


def test_of_images_of_a_program_they_are_calls(tmp_path, capsys):
    photos = draw_photos(tmp_path / "photos", 24, classes=())
    images = openjepa.as_dataset(sorted(photos.iterdir()))
    openjepa.pretrain(images, out=tmp_path / "run", **SMALL)
    calls = said_next(capsys.readouterr().out)
    longer, *others = calls
    assert len(others) == 4 and re.search(r"resume=True, steps=\d+\)$", longer)
    for call in others:
        assert eval(call, {"openjepa": openjepa, "images": images}) is not None, call


def test_what_is_made_after_a_run_went_on_does_not_meet_what_was_made_before(tmp_path, capsys):
    photos, (longer, index, *_), _ = trained(tmp_path, (), capsys)
    assert status_of(shlex.split(index)[1:]) == 0
    words = shlex.split(longer)
    assert status_of([*words[1:-1], "8"]) == 0
    _, index, search, *others = said_next(capsys.readouterr().out)
    for command in (index, search, *others):
        assert status_of(shlex.split(command)[1:]) == 0, capsys.readouterr().err
    assert (tmp_path / "run-step-8.index").is_dir()

    assert status_of(["index", str(tmp_path / "run"), str(photos), "--out", str(tmp_path / "run.index")]) == 2
    assert f"run.index was made before {tmp_path / 'run'} was trained further or replaced" in capsys.readouterr().err
