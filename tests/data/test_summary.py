import dataclasses
import json
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

from openjepa.data import summary as inspect
from openjepa.data.memory import decoded_bytes, hold_in_memory
from openjepa.data.open import open_dataset
from openjepa.data.summary import inspect_dataset
from openjepa.errors import UsageError


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    root = tmp_path / "photos"
    for number, (width, height) in enumerate([(40, 30), (40, 30), (64, 48), (100, 80)]):
        folder = root / ("cat" if number < 3 else "dog")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (48, 64)).save(root / "dog/turned.jpg", exif=exif)
    shutil.copy(root / "cat/0.png", root / "dog/copy.png")
    shutil.copy(root / "cat/0.png", root / "dog/again.png")
    (root / "cat/empty.png").touch()
    (root / "dog/page.jpg").write_text("<html>")
    (root / "dog/page.xml").write_text("<xml>")
    cut = (root / "dog/3.png").read_bytes()
    (root / "cat/cut.png").write_bytes(cut[:20])
    return root


def test_summary_says_what_is_there_and_drops_what_cannot_be_read(photos):
    steps = []
    dataset, summary = inspect_dataset(open_dataset(photos), lambda *step: steps.append(step))
    good = ["cat/0.png", "cat/1.png", "cat/2.png", "dog/3.png", "dog/again.png", "dog/copy.png", "dog/turned.jpg"]
    assert dataset.paths == good and dataset.labels["class"].tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert steps[-1] == (10, 10)
    assert summary.sizes == [(40, 30, 4), (64, 48, 2), (100, 80, 1)] and summary.smallest_side == 30
    assert summary.median_side == 30
    assert summary.classes == {"class": {"cat": 3, "dog": 4}}
    assert summary.duplicates == [["cat/0.png", "dog/again.png", "dog/copy.png"]]
    assert dict(summary.skipped)["cat/empty.png"] == "empty file"
    assert summary.lines("skipped.txt")[:4] == [
        "7 images in 2 classes (cat 3, dog 4)",
        "sizes: 40x30 to 100x80, median 40x30",
        "modes: RGB 6, L 1",
        "read as: 3 channels, 8 bits; 1 grey repeated in every channel",
    ]
    assert summary.lines("skipped.txt")[4].startswith("skipped 4 files: 1 truncated, 1 empty file, 1 not an image, 1 ")
    assert summary.lines("skipped.txt")[4].endswith(" (listed in skipped.txt)")
    assert summary.lines()[5] == "exact duplicates: 3 files in 1 group"
    again = json.loads(json.dumps(dataclasses.asdict(summary)))
    assert again["duplicates"] == summary.duplicates and again["images"] == 7


def test_zip_gives_the_same_summary(photos, tmp_path):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for file in photos.rglob("*.*"):
            archive.write(file, file.relative_to(photos).as_posix())
    _, by_folder = inspect_dataset(open_dataset(photos))
    _, by_zip = inspect_dataset(open_dataset(tmp_path / "photos.zip"))
    assert dataclasses.replace(by_zip, source=by_folder.source) == by_folder


def test_beyond_the_limit_duplicates_are_sought_in_a_sample(photos, monkeypatch):
    monkeypatch.setattr(inspect, "COMPARED_AT_MOST", 3)
    runs = [inspect_dataset(open_dataset(photos))[1] for _ in range(2)]
    assert runs[0] == runs[1] and runs[0].compared == 3
    assert runs[0].lines()[-1].endswith("in a sample of 3")


def test_only_unreadable_images_is_an_error(tmp_path):
    (tmp_path / "a.png").touch()
    with pytest.raises(UsageError, match=r"can be read \(1 tried; a\.png: empty file\)"):
        inspect_dataset(open_dataset(tmp_path))


def test_dataset_without_files(photos):
    held, _ = hold_in_memory(open_dataset(photos).subset([0, 1]), workers=0)
    same, summary = inspect_dataset(held)
    assert same is held
    assert summary.lines() == ["2 images in 2 classes (cat 2, dog 0)", "sizes: all 40x30", "modes: RGB 2"]
    assert decoded_bytes(summary) == 2 * 40 * 30 * 3
    held.classes = {"shape": ["a", "b"], "count": ["1"]}
    held.labels = {"shape": np.array([0, 1]), "count": np.array([0, 0])}
    assert inspect_dataset(held)[1].lines()[0] == "2 images labelled by shape (2 values), count (1 values)"


def test_of_a_very_large_set_a_sample_is_looked_at_and_said_to_be_one(tmp_path, monkeypatch):
    monkeypatch.setattr("openjepa.data.summary.ALL_HEADERS", 10)
    monkeypatch.setattr("openjepa.data.summary.COMPARED_AT_MOST", 6)
    for number in range(12):
        Image.new("RGB", (8, 6 + number), (number, 0, 0)).save(tmp_path / f"{number:02}.png")
    dataset = open_dataset(tmp_path)
    (tmp_path / dataset.paths[0]).write_bytes(b"no picture")
    good, summary = inspect_dataset(dataset)
    seen = sum(count for *_, count in summary.sizes)
    assert (summary.looked_at, seen + len(summary.skipped)) == (6, 6)
    assert len(good) == summary.images == 12 - len(summary.skipped)
    assert summary.lines()[1].endswith("in a sample of 6")
    assert decoded_bytes(summary) == pytest.approx(12 * 8 * 11.5 * 3, rel=0.4)
