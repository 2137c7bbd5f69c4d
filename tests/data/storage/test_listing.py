"""What is remembered of a large folder is never believed where the folder has changed."""

import os
import time

import pytest

from openjepa.data.storage import listing
from openjepa.data.storage.listing import walk


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(listing, "CACHED_FROM", 1)
    for name in ("a/1.jpg", "a/2.jpg", "b/c/3.jpg", "b/4.jpg", "b/note.txt"):
        (tmp_path / "p" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "p" / name).touch()
    settle(tmp_path / "p")
    return tmp_path / "p"


def settle(root, seconds=60):
    """As if nothing had been touched for a minute."""
    for path in (root, *root.rglob("*")):
        if path.is_dir():
            os.utime(path, (time.time() - seconds,) * 2)


def scanned(monkeypatch):
    """The folders that are read, not recalled."""
    read, scan = [], listing._scan
    monkeypatch.setattr(
        listing, "_scan", lambda root, path, status: read.append(os.fsdecode(path)) or scan(root, path, status)
    )
    return read


def test_a_second_listing_reads_no_folder_and_finds_the_same(folder, monkeypatch):
    first = walk(str(folder))
    read = scanned(monkeypatch)
    assert walk(str(folder)) == first and read == []
    assert list(first[0]) == ["a/1.jpg", "a/2.jpg", "b/4.jpg", "b/c/3.jpg", "b/note.txt"]


def test_added_removed_and_renamed_files_and_folders_are_noticed(folder, monkeypatch):
    walk(str(folder))
    read = scanned(monkeypatch)
    (folder / "b/c/5.jpg").touch()
    assert "b/c/5.jpg" in list(walk(str(folder))[0]) and read == ["b/c/"]
    settle(folder)
    (folder / "a/1.jpg").unlink()
    (folder / "a/2.jpg").rename(folder / "a/0.jpg")
    assert list(walk(str(folder))[0]) == ["a/0.jpg", "b/4.jpg", "b/c/3.jpg", "b/c/5.jpg", "b/note.txt"]
    (folder / "d/e").mkdir(parents=True)
    (folder / "d/e/6.jpg").touch()
    (folder / "a/0.jpg").unlink()
    (folder / "a").rmdir()
    assert list(walk(str(folder))[0]) == ["b/4.jpg", "b/c/3.jpg", "b/c/5.jpg", "b/note.txt", "d/e/6.jpg"]
    (folder / "b/c").rename(folder / "d/c")
    assert list(walk(str(folder))[0]) == ["b/4.jpg", "b/note.txt", "d/c/3.jpg", "d/c/5.jpg", "d/e/6.jpg"]


def test_a_folder_changed_just_now_is_not_remembered(folder, monkeypatch):
    (folder / "a/9.jpg").touch()
    walk(str(folder))
    read = scanned(monkeypatch)
    walk(str(folder))
    assert read == ["a/"]


def test_broken_links_are_looked_at_again(folder):
    (folder / "a/7.jpg").symlink_to(folder / "later")
    settle(folder)
    assert walk(str(folder))[1] == [("a/7.jpg", "broken link")]
    settle(folder)
    (folder.parent / "later").touch()
    (folder / "later").symlink_to(folder.parent / "later")
    settle(folder)
    assert "a/7.jpg" in list(walk(str(folder))[0])


def test_a_damaged_cache_is_not_believed(folder):
    first = walk(str(folder))
    place = listing.Memory(str(folder)).place
    for content in (b"", b"words" * 100, place.read_bytes()[:-50]):
        place.unlink()
        place.write_bytes(content)
        assert walk(str(folder)) == first
