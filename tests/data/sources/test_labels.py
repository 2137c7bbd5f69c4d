"""What columns beside images can be: classes, numbers, and lists of classes."""

import csv
import json
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.photos import draw_photos

import openjepa
from openjepa.data.memory import hold_in_memory
from openjepa.data.open import open_dataset
from openjepa.data.sources.labels import labels_of


def columns(values, names=None):
    found = labels_of([("a", values, names)])
    return set(found.labels), set(found.columns.numbers), set(found.columns.tags)


@pytest.mark.parametrize(
    ("values", "kinds"),
    [
        (["x", "y"] * 3, "label"),
        ([1, 2, 1, 2, 1, 3], "label number"),
        (["1.5", "2", "3", "4", "nan", ""], "number"),
        ([1.5, None, 3.0, 4.0, 5.0, math.nan], "number"),
        ([1e400, 2.0, 3.0, 4.0, 5.0, 6.0], ""),
        (["1", "2", "three", "4", "5", "6"], ""),
        (["x|y", "x", "", "z; y", "z", "x"], "tags"),
        (["x|y", "x", "x", "x|y", "z", "z"], "label tags"),
        ([["x"], ["y", "x"], [], None, ("y",), {"x"}], "tags"),
        (['["x", "y"]', '["y"]', "[]", "", '["x"]', "[1"], "tags"),
        (["a; b", "c; d", "e", "f", "g", "h"], ""),
    ],
)
def test_the_values_of_a_column_decide_what_it_can_be(values, kinds):
    expected = [{"a"} if kind in kinds.split() else set() for kind in ("label", "number", "tags")]
    assert list(columns(values)) == expected


def test_numbers_of_classes_are_classes_alone():
    assert columns([0, 1, 1, 0], ["x", "y"]) == ({"a"}, set(), set())


def test_tags_tell_none_from_unknown():
    found = labels_of([("a", ["x|y", "", "[]", "y"], None)]).columns
    assert found.tag_names == {"a": ["x", "y"]}
    assert found.tags["a"].tolist() == [[1, 1], [-1, -1], [0, 0], [0, 1]]


def make_table(folder, kind):
    photos = draw_photos(folder / "photos", 8)
    paths = sorted(str(path.relative_to(folder)) for path in photos.rglob("*.*"))
    ages, tags = [0.5 * row for row in range(8)], [["x", "y"], ["y"], ["x"], []] * 2
    if kind == "objects":
        return openjepa.as_dataset([folder / path for path in paths], labels={"age": ages, "tags": tags})
    if kind == "parquet":
        images = [(folder / path).read_bytes() for path in paths]
        pq.write_table(pa.table({"image": images, "age": ages, "tags": tags}), folder / "a.parquet")
        return folder / "a.parquet"
    if kind == "metadata":
        rows = [json.dumps({"file_name": p, "age": a, "tags": t}) for p, a, t in zip(paths, ages, tags, strict=True)]
        (folder / "metadata.jsonl").write_text("\n".join(rows))
        return folder
    with (folder / "a.csv").open("w", newline="") as file:
        cells = ["|".join(each) or "[]" for each in tags]
        csv.writer(file).writerows([("path", "age", "tags"), *zip(paths, ages, cells, strict=True)])
    return folder / "a.csv"


@pytest.mark.parametrize("kind", ["csv", "parquet", "metadata", "objects"])
def test_columns_follow_the_images_from_every_source_that_has_them(tmp_path, kind):
    found = open_dataset(make_table(tmp_path, kind))
    held, _ = hold_in_memory(found.subset([5, 0, 3]), 0)
    for dataset in (held.subset([0, 1, 2]), found.subset([5, 0, 3])):
        np.testing.assert_array_equal(dataset.columns.numbers["age"], [2.5, 0, 1.5])
        assert dataset.columns.tag_names == {"tags": ["x", "y"]}
        np.testing.assert_array_equal(dataset.columns.tags["tags"], [[0, 1], [1, 1], [0, 0]])
