"""The index of a zip: kept for large ones, read anew where the file or what was kept has changed."""

import zipfile

import numpy as np
import pytest

from openjepa.data.storage import zip_members
from openjepa.data.storage.names import Names
from openjepa.data.storage.storage import HIDDEN, LEAVES, is_hidden, leaves
from openjepa.data.storage.zip_members import read_zip

NAMES = ["a/1.jpg", "a/2.jpg", ".hidden/3.jpg", "a/.4.jpg", "__MACOSX/5.jpg", "b\\6.jpg", "../7.jpg", "ä/8.jpg"]


def write(path, names=NAMES):
    with zipfile.ZipFile(path, "w") as archive:
        archive.mkdir("a")
        for number, name in enumerate(names):
            archive.writestr(name, f"content {number}")
    return str(path)


def found(archive):
    return {name: archive.open(row).read() for row, name in enumerate(archive.names)}


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A zip whose index is kept however small it is, and the folder of what is kept."""
    monkeypatch.setenv("OPENJEPA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(zip_members, "CACHED_FROM", 1)
    return write(tmp_path / "a.zip"), tmp_path / "cache"


def test_a_kept_index_gives_the_same_members_without_reading_that_of_the_file(kept, monkeypatch):
    path, _ = kept
    first, below = read_zip(path), read_zip(path, "a/")
    assert list(below.names) == ["1.jpg", "2.jpg"]
    monkeypatch.setattr(zip_members, "_read_index", lambda _: pytest.fail("the file's index was read again"))
    again = read_zip(path)
    assert found(first) == found(again)
    assert set(found(again)) == {"a/1.jpg", "a/2.jpg", "b/6.jpg", "../7.jpg", "ä/8.jpg"}
    assert (read_zip(path, "a/").members == below.members).all()


def test_another_file_of_the_name_is_read_anew(kept, tmp_path):
    path, _ = kept
    read_zip(path)
    write(path, ["c/9.jpg"])
    assert list(read_zip(path).names) == ["c/9.jpg"]


def test_a_damaged_kept_index_is_read_anew(kept):
    path, cache = kept
    expected = found(read_zip(path))
    (file,) = cache.rglob("*.arrow")
    for content in (b"", file.read_bytes()[:300], b"no arrow"):
        file.write_bytes(content)
        assert found(read_zip(path)) == expected


def test_patterns_for_many_names_equal_the_functions_for_one():
    parts = ["a", ".", "..", "...", ".a", "a.", "..a", "__MACOSX", "__MACOSXa", "", "ä\n"]
    names = [f"{one}/{other}" for one in parts for other in parts] + parts
    many = Names.of(names)
    assert (many.match(HIDDEN) == np.array([is_hidden(name) for name in names])).all()
    assert (many.match(LEAVES) == np.array([leaves(name) for name in names])).all()
