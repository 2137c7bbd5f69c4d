"""Lists for FiftyOne, Label Studio and COCO name the files, and say of each what the list says."""

import io
import json
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from support.packing import as_shards, as_zip
from support.photos import draw_photos

import openjepa
from openjepa.errors import UsageError
from openjepa.exploring.atlas import IMAGE
from openjepa.exploring.coordinates import coordinates
from openjepa.files.marks import is_output


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    home = tmp_path_factory.mktemp("lists")
    photos = draw_photos(home / "my photos", 12)
    (photos / "odd né 100%.jpg").write_bytes(next(photos.rglob("*.jpg")).read_bytes())
    return openjepa.index("pixels", photos, out=home / "index", workers=0)


def written(index, command, name, **more):
    out = index.parent / f"{command.__name__}.{name}.json"
    table = command(index, *more.pop("given", ()), out=out, format=name, overwrite=True, **more)
    assert is_output(out)
    return table.to_pylist(), json.loads(out.read_text())


def test_fiftyone_has_absolute_paths_with_labels_and_attributes(index):
    rows, listed = written(index, openjepa.curate_clusters, "fiftyone", count=2)
    photos = index.parent / "my photos"
    assert listed["labels"].keys() == {str(path) for path in photos.rglob("*.jpg")}
    for row in rows:
        told = listed["labels"][str(photos / row["path"])]
        assert told["label"] == f"cluster {row['cluster']}" and told["attributes"]["cosine"] == row["cosine"]


def test_label_studio_tasks_hold_predictions_with_their_confidence(index):
    given = index.parent / "labels.csv"
    paths = openjepa.open_index(index).paths.to_pylist()
    given.write_text("path,kind\n" + "".join(f"{path},{'ab'[n % 2]}\n" for n, path in enumerate(paths[:8])))
    rows, tasks = written(index, openjepa.curate_labels, "label-studio", given=(given,))
    for row, task in zip(rows, tasks, strict=True):
        assert unquote(task["data"]["image"]) == f"/data/local-files/?d=my photos/{row['path']}"
        (prediction,) = task["predictions"]
        label, score = (row["given"], None) if row["given"] else (row["label"], row["confidence"])
        assert prediction["result"][0]["value"] == {"choices": [label]} and prediction.get("score") == score


def test_coco_has_a_box_around_every_image(index):
    rows, listed = written(index, openjepa.curate_duplicates, "coco")
    names = {each["id"]: each["name"] for each in listed["categories"]}
    sizes = {each["id"]: (each["file_name"], each["width"], each["height"]) for each in listed["images"]}
    found = {(sizes[b["image_id"]][0], names[b["category_id"]], *b["bbox"]) for b in listed["annotations"]}
    assert found == {(row["path"], row["kind"], 0, 0, row["width"], row["height"]) for row in rows} and found


def test_an_atlas_has_the_map_thumbnails_and_facts(index):
    out = index.parent / "atlas.parquet"
    table = openjepa.curate_clusters(index, count=2, out=out, format="embedding-atlas")
    listed, opened = pq.read_table(out), openjepa.open_index(index)
    places = [opened.place_of(path) for path in table["path"].to_pylist()]
    points = coordinates(opened, "pca")[places]
    assert listed.select(table.column_names).equals(table) and set(listed["folder"].to_pylist()) == {"", "cat", "dog"}
    assert np.array_equal(np.stack([listed["x"], listed["y"]], axis=1), points)
    pictures = opened.pictures_at(places)
    for row, picture in zip(listed["image"].to_pylist(), pictures, strict=True):
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(row["bytes"])).convert("RGB")), picture)


def test_labels_with_the_names_of_the_map_do_not_replace_it(index, tmp_path):
    path = openjepa.open_index(index).paths[0].as_py()
    (tmp_path / "labels.csv").write_text(f"path,x,image\n{path},left,blurred\n")
    photos = index.parent / "my photos"
    named = openjepa.index("pixels", photos, out=tmp_path / "i", labels=tmp_path / "labels.csv", workers=0)
    openjepa.curate_sample(named, n=13, out=tmp_path / "a.parquet", format="embedding-atlas")
    listed = pq.read_table(tmp_path / "a.parquet")
    assert listed.schema.field("x").type == pa.float32() and listed.schema.field("image").type == IMAGE
    assert {*listed["label_x"].to_pylist()} == {"left", None} and "blurred" in listed["label_image"].to_pylist()


def test_lists_without_a_label_of_their_own_are_named(index):
    for command, label in ((openjepa.curate_outliers, "outlier"), (openjepa.curate_sample, "sample")):
        _, listed = written(index, command, "fiftyone", **({"n": 3} if label == "sample" else {"top": 3}))
        assert [told["label"] for told in listed["labels"].values()] == [label] * 3


def test_what_cannot_be_written_is_refused_before_anything_is_computed(index, tmp_path):
    with pytest.raises(UsageError, match=r"--format fifty is not known: .*did you mean fiftyone"):
        openjepa.curate_sample(index, out=tmp_path / "a.json", format="fifty")
    with pytest.raises(UsageError, match=r"--format coco is not possible: give --out with a name that ends in .json"):
        openjepa.curate_sample(index, out=tmp_path / "a.csv", format="coco")
    packed = openjepa.index(
        "pixels", as_zip(index.parent / "my photos", tmp_path / "p.zip"), out=tmp_path / "i", workers=0
    )
    with pytest.raises(UsageError, match="which is no folder here"):
        openjepa.curate_sample(packed, n=3, out=tmp_path / "a.json", format="coco")
    shards = as_shards(index.parent / "my photos", tmp_path / "shards", 2)
    packed = openjepa.index("pixels", shards, out=tmp_path / "j", workers=0)
    with pytest.raises(UsageError, match=r"--format names files, and .* is none: .* parts of other files"):
        openjepa.curate_sample(packed, n=3, out=tmp_path / "a.json", format="coco")
    assert not (tmp_path / "a.json").exists()
