"""No output replaces an input, becomes data, or replaces a file that openjepa did not write."""

import csv
import os
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from support.photos import draw_photos

import openjepa
from openjepa.errors import UsageError
from openjepa.files import check_output, check_outside
from openjepa.files.marks import is_output
from openjepa.files.vectors import write_vectors

SMALL = {"image_size": 16, "batch_size": 8, "predictor_depth": 1, "workers": 0, "precision": "float32"}
FAST = {"workers": 0, "precision": "float32"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run, a head, and images in a folder, in a list and in a table."""
    folder = tmp_path_factory.mktemp("made")
    photos = draw_photos(folder / "photos", 40)
    openjepa.pretrain(str(photos), out=folder / "run", steps=2, **SMALL)
    openjepa.evaluate([folder / "run"], str(photos), tasks="knn", save_head=folder / "head", **FAST)
    files = sorted(photos.rglob("*.jpg"))
    with (folder / "list.csv").open("w") as stream:
        rows = csv.writer(stream)
        rows.writerows([("path", "class"), *((f"photos/{f.relative_to(photos)}", f.parent.name) for f in files)])
    images = [{"bytes": file.read_bytes(), "path": file.name} for file in files]
    pq.write_table(pa.table({"image": images, "class": [f.parent.name for f in files]}), folder / "data.parquet")
    return folder


@pytest.fixture
def here(made, tmp_path, monkeypatch):
    """A copy of it as the current folder, beside a photo and a note of the user."""
    shutil.copytree(made, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    Image.new("RGB", (20, 20)).save("photo.jpg")
    (tmp_path / "here" / "notes.csv").write_text("path,price\n")
    os.link("list.csv", "same.csv")
    os.symlink("run", "link")
    return tmp_path / "here"


def content(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


OVERWRITTEN = {
    "the table that is embedded": lambda: openjepa.embed("pixels", "data.parquet", out="data.parquet", **FAST),
    "the list that is classified": lambda: openjepa.predict("head", "list.csv", out="list.csv", **FAST),
    "it by its absolute name": lambda: openjepa.predict("head", "list.csv", out=os.path.abspath("list.csv"), **FAST),
    "it by a hard link": lambda: openjepa.predict("head", "same.csv", out="list.csv", **FAST),
    "the list that is measured on": lambda: openjepa.evaluate("run", "list.csv", csv="list.csv", **FAST),
    "the annotations": lambda: openjepa.evaluate("run", "photos", annotations="notes.csv", csv="notes.csv", **FAST),
    "the settings of the run": lambda: openjepa.evaluate("run", "photos", json="run/config.json", **FAST),
    "the settings through a link": lambda: openjepa.evaluate("run", "photos", json="link/config.json", **FAST),
    "the weights of the run": lambda: openjepa.embed("run", "photos", out="run/encoder/model.parquet", **FAST),
    "the image": lambda: openjepa.masks(image="photo.png", out="photo.png"),
    "an image of the data": lambda: openjepa.evaluate("pixels", "photos", page="photos/cat/000.jpg", **FAST),
    "an image of the test data": lambda: openjepa.evaluate(
        "pixels", "list.csv", test="photos", page="photos/cat/000.jpg", **FAST
    ),
    "the list that is checked": lambda: openjepa.data_check("list.csv", "list.html", out="list.html", workers=0),
}


@pytest.mark.parametrize("call", OVERWRITTEN.values(), ids=OVERWRITTEN.keys())
@pytest.mark.parametrize("overwrite", [False, True])
def test_an_input_is_never_replaced(here, monkeypatch, call, overwrite):
    shutil.copy("run/encoder/model.safetensors", "run/encoder/model.parquet")
    Image.new("RGB", (20, 20)).save("photo.png")
    shutil.copy("list.csv", "list.html")
    for name in ("embed", "predict", "evaluate", "masks", "data_check"):
        function = getattr(openjepa, name)
        monkeypatch.setattr(openjepa, name, lambda *a, f=function, **k: f(*a, **k, overwrite=overwrite), raising=False)
    before = content(here)
    with pytest.raises(UsageError, match=r"is read by this command|belongs to"):
        call()
    assert content(here) == before


THEIRS = {
    "page": lambda o: openjepa.evaluate("pixels", "photos", tasks="knn", page="photo.jpg", overwrite=o, **FAST),
    "csv": lambda o: openjepa.evaluate("pixels", "photos", tasks="knn", csv="notes.csv", overwrite=o, **FAST),
    "json": lambda o: openjepa.evaluate("pixels", "photos", tasks="knn", json="head/config.json", overwrite=o, **FAST),
    "vectors": lambda o: openjepa.embed("pixels", "photos", out="data.parquet", overwrite=o, **FAST),
    "classes": lambda o: openjepa.predict("head", "photos", out="notes.csv", overwrite=o, **FAST),
    "masks": lambda o: openjepa.masks(out="photo.png", image_size=16, overwrite=o),
    "check": lambda o: openjepa.data_check("photos", out="photo.html", workers=0, overwrite=o),
}


@pytest.mark.parametrize("call", THEIRS.values(), ids=THEIRS.keys())
def test_a_file_of_the_user_is_replaced_only_where_that_is_asked_for(here, call):
    Image.new("RGB", (20, 20)).save("photo.png")
    shutil.copy("photo.jpg", "photo.html")
    before = content(here)
    with pytest.raises(UsageError, match="is not an output of openjepa: give another name, or --overwrite"):
        call(False)
    assert content(here) == before
    call(True)
    changed = [path for path, data in content(here).items() if before.get(path) != data]
    assert len(changed) == 1 and is_output(changed[0])
    call(False)  # now it is an output of openjepa


AS_DATA = {
    "a picture": ("photos", "photos/cat/new.png"),
    "labels": ("photos", "photos/metadata.csv"),
    "a table among tables": ("tables", "tables/deep/vectors.parquet"),
    "a match of the pattern": ("tables/*.parquet", "tables/vectors.parquet"),
}


@pytest.mark.parametrize(("data", "out"), AS_DATA.values(), ids=AS_DATA.keys())
def test_an_output_does_not_become_data(here, data, out):
    (here / "tables" / "deep").mkdir(parents=True)
    shutil.copy("data.parquet", "tables")
    with pytest.raises(UsageError, match="would be read as a part of"):
        check_output(here / out, data=[data])
    check_output(here / out, inputs=[data])


def test_beside_pictures_there_is_room_for_other_files(here, monkeypatch):
    for name in ("photos/vectors.parquet", "photos/page.html", "photos/table.csv", "run/vectors.parquet", "new.png"):
        check_output(here / name, ["run"], data=["photos"])
    monkeypatch.chdir("photos")
    check_output(here / "photos" / "vectors.parquet", data=["."])
    check_output(here / "new.parquet", ["pixels", "untrained:vit_nano_patch8"], data=["scenes:100", "https://a/b.tar"])


def test_an_archive_is_the_input_of_what_lies_in_it(here):
    shutil.make_archive("photos", "zip", "photos")
    with pytest.raises(UsageError, match=r"photos\.zip is read by this command"):
        check_output(here / "photos.zip", overwrite=True, data=["photos.zip/cat"])


def test_folders_that_would_become_data(here):
    with pytest.raises(UsageError, match="photos/small lies in photos"):
        openjepa.data_prepare("photos", "photos/small", size=8, workers=0)
    with pytest.raises(UsageError, match="kept lies in photos"):
        openjepa.evaluate("pixels", "photos", cache="photos/kept", **FAST)
    check_outside(here / "small", ["photos", "photos/*.jpg", "scenes"])
    assert sorted(path.name for path in (here / "photos").iterdir()) == ["cat", "dog"]


def test_two_outputs_have_two_names(here):
    with pytest.raises(UsageError, match="name the same file"):
        openjepa.evaluate("pixels", "photos", json="a", csv=here / "a", **FAST)


@pytest.mark.parametrize(
    "data", [b"", b"[", b"[]", b"[1]", b"[" * 10**5, b'[{"model": 1}]', b"PAR1", b"\x89PNG", b"<!doctype html>", b"a,b"]
)
def test_what_is_not_marked_is_not_ours(tmp_path, data):
    (tmp_path / "file").write_bytes(data)
    assert not is_output(tmp_path / "file")


def test_a_mark_survives_many_rows(tmp_path):
    write_vectors(tmp_path / "v.parquet", [f"{i}.jpg" for i in range(20_000)], np.zeros((20_000, 8), np.float32))
    assert is_output(tmp_path / "v.parquet")
