"""Planted copies are found with what was done to them, and pictures that have nothing in common are not."""

import numpy as np
import pytest
import torch
from PIL import Image

import openjepa
from openjepa.errors import UsageError
from openjepa.indexing.curation import duplicates
from openjepa.indexing.curation.matching import oriented
from openjepa.indexing.curation.neighbours import nearest_of_all

KINDS = {
    "re-encoded": lambda image: image,
    "resized": lambda image: image.resize((120, 80)),
    "cropped": lambda image: image.crop((10, 4, 192, 126)),
    "flipped or turned": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "brightness changed": lambda image: image.point(lambda value: round(0.8 * value)),
}


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """Thirty pictures; two copies of each kind, and one of the file and of the pixels of the first."""
    home = tmp_path_factory.mktemp("copies")
    (home / "photos").mkdir()
    values = np.random.default_rng(0).integers(40, 200, (30, 10, 14, 3), dtype=np.uint8)
    for number, rough in enumerate(values):
        image = Image.fromarray(rough).resize((200, 133), Image.Resampling.BICUBIC)
        image.save(home / "photos" / f"{number:02}.png")
        if number < 2 * len(KINDS):
            copy = [*KINDS.values()][number % len(KINDS)](image)
            copy.save(home / "photos" / f"{number:02}-copy.jpg", quality=60)
    (home / "photos" / "29-file.png").write_bytes((home / "photos" / "29.png").read_bytes())
    Image.open(home / "photos" / "28.png").save(home / "photos" / "28-pixels.bmp")
    openjepa.index("pixels", home / "photos", out=home / "index", workers=0)
    return openjepa.open_index(home / "index")


def test_copies_are_found_and_explained(index):
    rows = index.duplicates().to_pylist()
    found = {row["path"]: (row["kind"], row["of"]) for row in rows if row["kind"] != "keep"}
    kinds = [*KINDS]
    expected = {f"{n:02}-copy.jpg": (kinds[n % 5], f"{n:02}.png") for n in range(10)}
    expected |= {"29-file.png": ("exact file", "29.png"), "28.png": ("same pixels", "28-pixels.bmp")}
    assert found == expected
    keep = [row for row in rows if row["kind"] == "keep"]
    assert len(keep) == 12 and all(row["of"] is None and row["width"] == 200 for row in keep)
    assert [row["group"] for row in rows] == [n for n in range(1, 13) for _ in range(2)]


def test_of_equal_images_one_is_compared_for_all(tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    rough = np.random.default_rng(0).integers(40, 200, (3, 10, 14, 3), dtype=np.uint8)
    images = [Image.fromarray(each).resize((200, 133), Image.Resampling.BICUBIC) for each in rough]
    for number in range(12):
        images[number % 2].save(tmp_path / "photos" / f"{number:02}.png")
    images[0].save(tmp_path / "photos" / "copy.jpg", quality=60)
    images[2].save(tmp_path / "photos" / "other.png")
    openjepa.index("pixels", tmp_path / "photos", out=tmp_path / "index", workers=0)
    compared, verified = [], duplicates._verified
    monkeypatch.setattr(duplicates, "_verified", lambda *given: compared.extend(given[2]) or verified(*given))
    rows = openjepa.open_index(tmp_path / "index").duplicates().to_pylist()
    assert [row["group"] for row in rows] == [1] * 7 + [2] * 6
    kinds = {row["path"]: row["kind"] for row in rows if row["kind"] != "keep"}
    assert kinds == {f"{number:02}.png": "exact file" for number in range(2, 12)} | {"copy.jpg": "re-encoded"}
    assert len({place for a, b, _ in compared for place in (a, b)}) <= 4  # two images, the copy, and the other


def test_images_near_by_their_vectors_alone_are_asked_for(index, tmp_path):
    (tmp_path / "photos").mkdir()
    for number in range(12):
        level = 20 * number + (number == 1) * -19
        Image.new("RGB", (40, 40), (level, 255 - level, 128)).save(tmp_path / "photos" / f"{number:02}.png")
    openjepa.index("pixels", tmp_path / "photos", out=tmp_path / "index", workers=0)
    plain = openjepa.open_index(tmp_path / "index")
    assert len(plain.duplicates()) == 0
    rows = plain.duplicates(embedding=True).to_pylist()
    assert {row["path"] for row in rows} == {"00.png", "01.png"} and rows[1]["kind"] == "near only by embedding"


def test_orientations_are_the_eight_of_a_square():
    image = torch.arange(9.0).view(1, 3, 3)
    assert len({tuple(oriented(image, turn).flatten().tolist()) for turn in range(8)}) == 8


def test_neighbours_are_those_of_brute_force(index):
    places, cosines = nearest_of_all(index.vectors, 3)
    matrix = index.vectors.at(range(len(index)))
    products = matrix @ matrix.T - 2 * torch.eye(len(index))
    expected = products.topk(3, dim=1)
    np.testing.assert_allclose(cosines, expected.values, atol=1e-5)
    assert (np.sort(places, axis=1) == np.sort(expected.indices.numpy(), axis=1)).mean() > 0.95  # equal ones swap


def test_files_are_moved_after_a_plan_and_none_is_lost(tmp_path, capsys):
    photos = tmp_path / "photos"
    (photos / "a").mkdir(parents=True)
    for number in range(6):
        rough = np.random.default_rng(number % 4).integers(0, 255, (9, 9, 3), dtype=np.uint8)
        Image.fromarray(rough).resize((60, 60)).save(photos / "a" / f"{number}.png")
    before = {path.name: path.read_bytes() for path in photos.rglob("*.png")}
    index, into = openjepa.index("pixels", photos, out=tmp_path / "index", workers=0), tmp_path / "copies"
    openjepa.curate_duplicates(index, move=into, out=tmp_path / "copies.csv")
    assert "2 files would be moved to" in capsys.readouterr().out and not into.exists()
    assert len([*photos.rglob("*.png")]) == 6
    openjepa.curate_duplicates(index, link=tmp_path / "links", yes=True)
    assert sorted(path.name for path in (tmp_path / "links").rglob("*.png")) == ["4.png", "5.png"]
    openjepa.curate_duplicates(index, move=into, yes=True, out=tmp_path / "copies.parquet")
    after = {path.name: path.read_bytes() for place in (photos, into) for path in place.rglob("*.png")}
    assert after == before and sorted(path.name for path in into.rglob("*.png")) == ["4.png", "5.png"]
    assert (into / "moved.csv").read_text().count("\n") == 3
    with pytest.raises(UsageError, match=r"4\.png is gone or no file: bring"):
        openjepa.curate_duplicates(index, move=into, yes=True)
    with pytest.raises(UsageError, match=r"lies in .*photos"):
        openjepa.curate_duplicates(index, move=photos / "copies")
    with pytest.raises(UsageError, match="give one of them"):
        openjepa.curate_duplicates(index, move=into, link=into)
    with pytest.raises(UsageError, match=r"ends in \.csv, \.xlsx or \.parquet"):
        openjepa.curate_duplicates(index, out=tmp_path / "copies.txt")
    assert openjepa.index("pixels", photos, out=index, workers=0) and len(openjepa.open_index(index)) == 4
