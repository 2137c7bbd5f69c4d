"""The map of an index is the same for the same vectors, is kept, and is made anew for others or where it is damaged."""

import shutil
import sys
from types import ModuleType

import numpy as np
import pytest
from support.photos import draw_photos

import openjepa
from openjepa.exploring import coordinates as module
from openjepa.exploring.coordinates import best_method, coordinates, file_of, stored_coordinates

COUNT = 60


class Fake:
    """Stands in for UMAP, which takes seconds to load: the first two numbers of each vector. It counts its calls."""

    calls = 0

    def __init__(self, **settings):
        assert settings["random_state"] == 0

    def fit_transform(self, vectors):
        Fake.calls += 1
        return vectors[:, :2] * 3 + 1


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("mapped")
    draw_photos(home / "photos", COUNT)
    openjepa.index("pixels", home / "photos", out=home / "index", workers=0)
    return home


@pytest.fixture
def index(home, tmp_path, monkeypatch):
    umap = ModuleType("umap")
    umap.UMAP = Fake
    monkeypatch.setitem(sys.modules, "umap", umap)
    shutil.copytree(home / "index", tmp_path / "index")
    Fake.calls = 0
    return openjepa.open_index(tmp_path / "index")


def reopened(index):
    return openjepa.open_index(index.folder)


def test_the_map_is_kept_until_the_vectors_change(index, home):
    first = coordinates(index, "umap")
    assert first.shape == (COUNT, 2) and np.abs(first).max() == pytest.approx(1)
    assert np.array_equal(coordinates(reopened(index), "umap"), first) and Fake.calls == 1
    openjepa.index("pixels", home / "photos", out=index.folder, workers=0)
    assert stored_coordinates(reopened(index), "umap") is not None
    old = file_of(index, "umap")
    (home / "photos/cat/000.jpg").rename(home / "gone.jpg")
    openjepa.index("pixels", home / "photos", out=index.folder, workers=0)
    (home / "gone.jpg").rename(home / "photos/cat/000.jpg")
    assert len(coordinates(reopened(index), "umap")) == COUNT - 1 and Fake.calls == 2
    assert not old.exists() and len(list(index.folder.glob("map-*.npy"))) == 1


def test_a_damaged_map_is_made_again(index):
    first, path = coordinates(index, "umap"), file_of(index, "umap")
    arrays = np.full((COUNT, 2), np.nan, np.float32), np.array([{}] * COUNT), np.zeros((COUNT, 999), np.float32)
    for number, content in enumerate([b"", b"no array", path.read_bytes()[:-9], *arrays, first * 2, first.T]):
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            np.save(path, content)
        assert np.array_equal(coordinates(reopened(index), "umap"), first) and Fake.calls == number + 2


def test_where_it_cannot_be_kept_a_line_says_so(index, monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    assert len(coordinates(index, "umap")) == COUNT
    assert "cannot be kept" in capsys.readouterr().out and not list(index.folder.glob("map-*"))


def test_images_beyond_those_that_are_fitted_lie_between_their_nearest(index, monkeypatch):
    whole = coordinates(index, "umap")
    file_of(index, "umap").unlink()
    monkeypatch.setattr(module, "FITTED", 50)
    part = coordinates(reopened(index), "umap")
    assert part.shape == whole.shape and np.isfinite(part).all()
    assert np.corrcoef(part[:, 0], whole[:, 0])[0, 1] > 0.8


def test_pca_shows_the_directions_of_most_variance(index):
    found = coordinates(index, "pca")
    vectors = index.vectors.at(range(COUNT)).numpy().astype(np.float64)
    centred = vectors - vectors.mean(axis=0)
    expected = centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T
    for axis in range(2):
        assert abs(np.corrcoef(found[:, axis], expected[:, axis])[0, 1]) > 0.999
    assert np.array_equal(coordinates(reopened(index), "pca"), found)


def test_few_images_and_a_missing_library_take_pca(monkeypatch):
    assert best_method(module.LEAST - 1) == "pca" and best_method(module.LEAST) == "umap"
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda _: None)
    assert best_method(10_000) == "pca"
