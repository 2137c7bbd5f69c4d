"""Hashes of images: files are read once, and again where they have changed or the user asks for it."""

import os
import zipfile
from pathlib import Path

import pytest
from support.packing import as_tar, as_zip

from openjepa.data.dataset import ImageFiles
from openjepa.data.open import open_dataset
from openjepa.encoder import content_hashes
from openjepa.encoder.content_hashes import content_hash

LONG_AGO = 1_000_000_000


@pytest.fixture
def reads(monkeypatch):
    """The indices of the files that were read, with small sets kept as well."""
    monkeypatch.setattr(content_hashes, "KEPT_FROM", 1)
    found, digest = [], ImageFiles.digest

    def noted(self, index):
        found.append(index)
        return digest(self, index)

    monkeypatch.setattr(ImageFiles, "digest", noted)
    return found


def aged(path: Path) -> Path:
    for file in [path, *path.rglob("*")]:
        os.utime(file, (LONG_AGO, LONG_AGO))
    return path


@pytest.fixture(params=["folder", "zip", "tar"])
def source(request, photos, tmp_path):
    packed = {"folder": lambda: photos, "zip": lambda: as_zip(photos, tmp_path / "a.zip")}
    return aged(packed.get(request.param, lambda: as_tar(photos, tmp_path / "a.tar"))())


def test_files_that_have_not_changed_are_read_once(source, reads):
    dataset = open_dataset(source)
    first = content_hash(dataset)
    assert reads == list(range(24))
    part = dataset.subset(range(5, 9))
    assert content_hash(open_dataset(source)) == first and content_hash(part) != first
    assert len(reads) == 24
    assert content_hash(dataset, verify=True) == first and len(reads) == 48


def test_a_file_that_has_changed_is_read_again(photos, reads):
    first = content_hash(open_dataset(aged(photos)))
    file = photos / open_dataset(photos).paths[3]
    content = file.read_bytes()
    file.write_bytes(content[:-1] + b"?")
    os.utime(file, (LONG_AGO + 1, LONG_AGO + 1))
    reads.clear()
    assert content_hash(open_dataset(photos)) != first and reads == [3]
    file.write_bytes(content)
    os.utime(file, (LONG_AGO, LONG_AGO))
    assert content_hash(open_dataset(photos)) == first


def test_a_change_that_keeps_size_and_time_is_found_by_verify_alone(photos, reads):
    first = content_hash(open_dataset(aged(photos)))
    file = photos / open_dataset(photos).paths[3]
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    aged(photos)
    assert content_hash(open_dataset(photos)) == first != content_hash(open_dataset(photos), verify=True)


def test_files_changed_a_moment_ago_and_damaged_ones_are_read_each_time(photos, reads):
    aged(photos)
    file = photos / open_dataset(photos).paths[3]
    file.write_bytes(b"")
    os.utime(file)
    dataset = open_dataset(photos)
    content_hash(dataset)
    reads.clear()
    content_hash(dataset)
    assert reads == [3]


def test_other_members_of_a_zip_of_one_name_are_read(tmp_path, photos, reads):
    first = content_hash(open_dataset(aged(as_zip(photos, tmp_path / "a.zip"))))
    with zipfile.ZipFile(tmp_path / "a.zip", "a") as archive:
        archive.write(next(photos.rglob("*.jpg")), "cat/another.jpg")
    aged(tmp_path / "a.zip")
    assert content_hash(open_dataset(tmp_path / "a.zip")) != first and len(reads) == 24 + 25
