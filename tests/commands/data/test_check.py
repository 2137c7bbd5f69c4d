"""`data check`: what is wrong with images is found, shown and, when asked for, ends with 1."""

import shutil

import numpy as np
import pytest
from PIL import Image
from support.html_checks import check_stands_alone
from support.photos import draw_photos

import openjepa
from openjepa.errors import CheckFailed


def rough(seed, side=40):
    image = Image.fromarray(np.random.default_rng(seed).integers(60, 200, (6, 6, 3), dtype=np.uint8))
    return image.resize((side, side), Image.Resampling.BICUBIC)


@pytest.fixture
def photos(tmp_path):
    for number in range(24):
        home = tmp_path / "photos" / "ab"[number % 2]
        home.mkdir(parents=True, exist_ok=True)
        rough(number).save(home / f"{number:02}.png")
    return tmp_path / "photos"


def check(photos, *others, **settings):
    return openjepa.data_check(photos, *others, out=photos.parent / "check.html", workers=0, **settings)


def test_nothing_is_wrong_with_sound_images(photos):
    found = check(photos, strict=True)["sources"][str(photos)]
    assert found["images"] == 24 and not any(found[name] for name in ("unreadable", "exact", "near"))
    assert "nothing wrong" in (photos.parent / "check.html").read_text()


def test_folders_that_look_like_shards_are_asked_about_and_can_be_ignored(photos, capsys):
    for number, path in enumerate(sorted(photos.rglob("*.png"))):
        (photos.parent / f"shards/{number // 2:05}").mkdir(parents=True, exist_ok=True)
        shutil.move(path, photos.parent / f"shards/{number // 2:05}")
    check(photos.parent / "shards")
    said = " ".join(capsys.readouterr().out.split())
    assert "12 values" in said and "12 folders of about 2 images each, named by numbers: are these shards" in said
    check(photos.parent / "shards", labels=False)
    said = " ".join(capsys.readouterr().out.split())
    assert "12 values" not in said and "shards and not classes" not in said


def test_proportions_and_the_size_for_training_are_said(tmp_path, capsys):
    check(draw_photos(tmp_path / "photos", 12, side=30, width=40))
    printed = " ".join(capsys.readouterr().out.split())
    assert "proportions all 1.33 (width / height)" in printed
    assert "28x36 px (rows x columns), patches of 4: images of 40x30 (width x height) are seen whole" in printed


def test_everything_wrong_is_found_and_shown(photos, capsys):
    test = photos.parent / "test"
    test.mkdir()
    shutil.copy(photos / "a/00.png", photos / "b/copy.png")
    rough(4).resize((25, 25)).save(photos / "a/04 again.png")
    (photos / "a/cut.png").write_bytes((photos / "a/02.png").read_bytes()[:-300])
    (photos / "a/empty.png").touch()
    (photos / "a/notes.txt").write_text("no image")
    Image.new("RGB", (40, 40)).save(photos / "a/black.png")
    for number in range(8):
        rough(100 + number).save(test / f"{number}.png")
    rough(6).save(test / "leak.jpg", quality=95)
    shutil.copy(photos / "b/07.png", test / "same.png")
    found = check(photos, test)
    one = found["sources"][str(photos)]
    assert dict(one["unreadable"]) == {"a/cut.png": "truncated", "a/empty.png": "empty file"}
    assert one["exact"] == [["a/00.png", "b/copy.png"]]
    assert one["near"] == [["a/04 again.png", "a/04.png"]]
    assert one["odd"]["dark"] == ["a/black.png"] and one["odd"]["flat"] == ["a/black.png"]
    assert found["leaks"] == [("leak.jpg", "a/06.png"), ("same.png", "b/07.png")]
    printed = capsys.readouterr().out
    for said in ("2 unreadable files", "1 group of equal files in more than one class", "2 images of"):
        assert said in printed
    page = (photos.parent / "check.html").read_text()
    for said in ("In both sources", "Equal files in", "look the same", "far darker", "empty.png", "notes.txt"):
        assert said in page
    check_stands_alone(page)
    with pytest.raises(CheckFailed, match="unreadable"):
        check(photos, strict=True)


def test_images_of_other_numbers(tmp_path):
    """Outliers and duplicates of 12-band floats, in their own numbers."""
    rng = np.random.default_rng(0)
    home = tmp_path / "bands"
    home.mkdir()
    for number in range(10):
        bands = np.kron(rng.normal(800, 100, (8, 8, 12)), np.ones((4, 4, 1)))
        np.save(home / f"{number}.npy", (bands + 9000 * (number == 3)).astype(np.float32))
    np.save(home / "copy.npy", np.load(home / "5.npy") * 1.0001)
    found = check(home)["sources"][str(home)]
    assert found["odd"]["bright"] == ["3.npy"] and found["near"] == [["5.npy", "copy.npy"]]


def test_a_set_drawn_and_one_without_odd_ones(tmp_path):
    found = openjepa.data_check("scenes:30", out=tmp_path / "c.html", workers=0)
    assert found["sources"]["scenes"]["images"] == 30


def test_mistakes_are_said(tmp_path):
    photos = draw_photos(tmp_path / "photos", 4)
    for settings, said in (
        ({"out": tmp_path / "page.txt"}, ".html"),
        ({"pages": "all"}, "known are first"),
        ({"channels": 0}, "at least 1"),
    ):
        with pytest.raises(openjepa.UsageError, match=said):
            openjepa.data_check(photos, **{"out": tmp_path / "c.html", **settings})
