"""Annotations in the formats people have, matched to images by name, and what does not match is said."""

import json
import struct
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image
from support.photos import draw_photos

from openjepa.data.crops import Frame
from openjepa.data.open import open_dataset
from openjepa.data.scenes.scenes import SHAPES, Scenes
from openjepa.errors import UsageError
from openjepa.evaluation.annotations.object_annotations import Annotation, read_annotations
from openjepa.evaluation.annotations.targets import file_targets, open_targets, scene_targets
from openjepa.evaluation.corruptions import CORRUPTIONS, STRENGTHS, Corrupted

CLEVR = {"image_filename": "a.png", "objects": [{"pixel_coords": [1, 2, 9.5]}, {"pixel_coords": [3, 4, 8.25]}]}
COCO = {
    "images": [{"id": 7, "file_name": "a.jpg"}, {"id": 8, "file_name": "b.jpg"}],
    "annotations": [{"image_id": 7, "bbox": [0, 0, 1, 1]}, {"image_id": 7, "bbox": [0, 0, 2, 2]}],
}
VOC = "<annotation><filename>renamed.jpg</filename><object/><object/><object/></annotation>"
CSV = "image,xmin,ymin,xmax,ymax\na.jpg,0,0,1,1\na.jpg,1,1,2,2\nb.jpg,,,,\n"


def test_every_format(tmp_path):
    def read(name, text):
        (tmp_path / name).write_text(text)
        return read_annotations(str(tmp_path / name))

    assert read("clevr.json", json.dumps(CLEVR)) == {"a.png": Annotation(2, 8.25)}
    assert read("scenes.json", json.dumps({"scenes": [CLEVR]})) == {"a.png": Annotation(2, 8.25)}
    assert read("coco.json", json.dumps(COCO)) == {"a.jpg": Annotation(2), "b.jpg": Annotation(0)}
    assert read("a.xml", VOC) == {"a": Annotation(3)}
    assert read("boxes.csv", CSV) == {"a.jpg": Annotation(2), "b.jpg": Annotation(0)}


# Four objects in an image of 40x30 pixels (width x height), two of them in the outer eighths, and one without a place.
PLACES = [(2, 15), (20, 15), (33, 1), (38, 28)]
SEEN = {
    "clevr.json": json.dumps({"image_filename": "000.jpg", "objects": [{"pixel_coords": [*p, p[0]]} for p in PLACES]}),
    "coco.json": json.dumps(
        {
            "images": [{"id": 1, "file_name": "000.jpg", "width": 400, "height": 300}],
            "annotations": [
                *({"image_id": 1, "bbox": [10 * x - 10, 10 * y - 10, 20, 20]} for x, y in PLACES),
                {"image_id": 1},
            ],
        }
    ),
    "000.xml": "<annotation><size><width>0</width><height>0</height></size>"
    + "".join(
        f"<object><bndbox><xmin>{x - 2}</xmin><ymin>{y}</ymin><xmax>{x + 2}</xmax><ymax>{y}</ymax></bndbox></object>"
        for x, y in PLACES
    )
    + "<object/></annotation>",
    "boxes.csv": "image,XMin,ymin,xmax,ymax\n" + "".join(f"000.jpg,{x},{y},{x},{y}\n" for x, y in PLACES),
}


@pytest.mark.parametrize("name", SEEN)
def test_what_lies_outside_of_what_is_seen_is_left_out_and_said(tmp_path, name):
    dataset = open_dataset(draw_photos(tmp_path / "photos", 1, classes=(), side=30, width=40))
    (tmp_path / name).write_text(SEEN[name])
    unplaced = name in ("coco.json", "000.xml")
    whole, square = (
        file_targets(dataset, str(tmp_path / name), None, None, Frame(size, 0.1)) for size in ((28, 36), (32, 32))
    )
    assert whole.annotations["000.jpg"].count == 4 + unplaced and whole.remarks == ()
    assert square.annotations["000.jpg"].count == 2 + unplaced
    assert square.annotations["000.jpg"].distance == (20 if name == "clevr.json" else None)
    assert f"2 of {4 + unplaced} objects" in square.remarks[0] and "not counted" in square.remarks[0]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.xml", "<annotation><object><name>red</name></object><object><name>white</name></object></annotation>"),
        (
            "coco.json",
            json.dumps(
                COCO
                | {
                    "categories": [{"id": 1, "name": "red"}, {"id": 2, "name": "white"}],
                    "annotations": [{"image_id": 7, "category_id": 1}, {"image_id": 7, "category_id": 2}],
                }
            ),
        ),
        ("boxes.csv", "image,xmin,class\na.jpg,0,red\na.jpg,1,white\n"),
        (
            "clevr.json",
            json.dumps(
                {
                    "image_filename": "a.png",
                    "objects": [
                        {"shape": "red", "pixel_coords": [1, 2, 9]},
                        {"shape": "white", "pixel_coords": [1, 2, 8]},
                    ],
                }
            ),
        ),
    ],
)
def test_objects_of_one_kind_are_counted(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    counts = {kind: read_annotations(str(tmp_path / name), kind) for kind in (None, "red", "white")}
    assert [next(iter(counts[kind].values())).count for kind in (None, "red", "white")] == [2, 1, 1]
    with pytest.raises(UsageError, match="--kind rad is not known: known are red, white; did you mean red"):
        read_annotations(str(tmp_path / name), "rad")
    (tmp_path / "plain.csv").write_text(CSV)
    with pytest.raises(UsageError, match="does not say of what kind objects are"):
        read_annotations(str(tmp_path / "plain.csv"), "red")


def test_a_folder_and_a_folder_in_a_zip(tmp_path):
    (tmp_path / "notes").mkdir()
    for name in "ab":
        (tmp_path / "notes" / f"{name}.xml").write_text(VOC)
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as packed:
        for name in "ab":
            packed.writestr(f"set/notes/{name}.xml", VOC)
            packed.writestr(f"set/notes-old/{name}2.xml", VOC)
    expected = {"a": Annotation(3), "b": Annotation(3)}
    assert read_annotations(str(tmp_path / "notes")) == expected
    assert read_annotations(str(tmp_path / "all.zip" / "set" / "notes")) == expected


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("broken.json", "{"),
        ("other.json", '{"a": 1}'),
        ("list.json", "[]"),
        ("wrong.xml", "<html/>"),
        ("cut.xml", "<annotation>"),
        ("bare.csv", "a,b\n1,2\n"),
        ("named.json", json.dumps({"images": [{"id": 1, "file_name": [1]}], "annotations": [], "categories": []})),
        ("deep.json", "[" * 100_000),
        ("large.json", '{"image_filename": "a", "objects": [{"pixel_coords": [1, 2, 1%s]}]}' % ("0" * 400)),
        ("depthless.json", json.dumps({"image_filename": "a", "objects": [{"pixel_coords": [1, 2]}]})),
    ],
)
def test_what_is_not_understood_is_named(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=f"{name}.*is not understood"):
        read_annotations(str(tmp_path / name))


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(UsageError, match="does not exist"):
        read_annotations(str(tmp_path / "nowhere.csv"))
    (tmp_path / "notes.md").write_text("x")
    with pytest.raises(UsageError, match="holds no annotations"):
        read_annotations(str(tmp_path))


def test_files_in_folders_are_of_the_images_in_the_same_folders(tmp_path):
    dataset = open_dataset(draw_photos(tmp_path / "photos", 6))
    for path in dataset.paths:
        file = (tmp_path / "notes" / path).with_suffix(".xml")
        file.parent.mkdir(parents=True, exist_ok=True)
        objects = "<object/>" * (1 if path.startswith("cat") else 3)
        file.write_text(f"<annotation>{objects}</annotation>")
    found = file_targets(dataset, str(tmp_path / "notes"), None, None).annotations
    assert {path: known.count for path, known in found.items()} == {
        path: 1 if path.startswith("cat") else 3 for path in dataset.paths
    }
    (tmp_path / "notes" / "cat.json").write_text(json.dumps(COCO | {"annotations": []}))
    (tmp_path / "notes" / "dog.json").write_text(json.dumps(COCO))
    with pytest.raises(UsageError, match=r"cat.json and dog.json in .* say different things of a.jpg"):
        read_annotations(str(tmp_path / "notes"))


def test_images_are_matched_by_name_and_the_unmatched_counted(tmp_path):
    dataset = open_dataset(draw_photos(tmp_path / "photos", 6))
    stems = [path.split("/")[1].removesuffix(".jpg") for path in dataset.paths]
    (tmp_path / "some.csv").write_text("file,x\n" + "".join(f"{stem}.png,1\n" for stem in stems))
    found = file_targets(dataset, str(tmp_path / "some.csv"), None, None).annotations
    assert set(found) == set(dataset.paths) and set(found.values()) == {Annotation(1)}
    (tmp_path / "few.csv").write_text("file,x\n" + "".join(f"{stem}.png,1\n" for stem in stems[:4]))
    few = file_targets(dataset, str(tmp_path / "few.csv"), None, None)
    assert set(few.annotations) == set(dataset.paths[:4])
    assert few.remarks[0].startswith(f"note: 2 of 6 images of {dataset.source} have no annotations in")
    (tmp_path / "none.csv").write_text("file,x\nother.png,1\n")
    with pytest.raises(UsageError, match=r"no image of .* has annotations in"):
        file_targets(dataset, str(tmp_path / "none.csv"), None, None)


def test_maps_are_read_as_numbers(tmp_path):
    dataset = open_dataset(draw_photos(tmp_path / "photos", 2, classes=()))
    (tmp_path / "depth").mkdir()
    values = np.arange(400, dtype=np.uint16).reshape(20, 20) * 100
    for path in dataset.paths:
        Image.fromarray(values).save(tmp_path / "depth" / path.replace(".jpg", ".png"))
    targets = open_targets("photos", dataset, None, str(tmp_path / "depth"), None)
    read = targets.depth(dataset.paths[0])
    assert np.isnan(read[0, 0]) and np.array_equal(read.ravel()[1:], values.ravel()[1:])
    (tmp_path / "mask").mkdir()
    labels = np.full((20, 20), 255, np.uint8)
    labels[:5] = 3
    for path in dataset.paths:
        Image.fromarray(labels).save(tmp_path / "mask" / path.replace(".jpg", ".png"))
    assert set(np.unique(file_targets(dataset, None, None, str(tmp_path / "mask")).mask(dataset.paths[1]))) == {-1, 3}
    with pytest.raises(UsageError, match="is in colour"):
        file_targets(dataset, None, None, str(tmp_path / "photos")).mask(dataset.paths[0])


def test_a_map_that_claims_more_pixels_than_are_read_is_refused(tmp_path):
    dataset = open_dataset(draw_photos(tmp_path / "photos", 2, classes=()))
    (tmp_path / "mask").mkdir()
    for path in dataset.paths:
        Image.new("L", (20, 20)).save(file := tmp_path / "mask" / path.replace(".jpg", ".png"))
        content = bytearray(file.read_bytes())
        content[16:24] = struct.pack(">II", 2**15, 2**15)
        content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
        file.write_bytes(content)
    with pytest.raises(UsageError, match=r"\.png in .* cannot be read \(larger than .* pixels"):
        file_targets(dataset, None, None, str(tmp_path / "mask"))


def test_scenes_know_their_own_targets():
    scenes = Scenes(40, seed=3, size=(32, 32))
    targets = scene_targets(scenes)
    for index in (0, 7, 31):
        path, scene = scenes.paths[index], scenes.scene(index)
        assert targets.annotations[path] == Annotation(scene.count, pytest.approx(scene.distance, rel=1e-6))
        depth, mask = targets.depth(path), targets.mask(path)
        assert np.nanmin(depth) <= scene.distance * 1.1 and np.nanmax(depth) <= 20
        assert (mask[np.isinf(scene.depth)] == 0).all()
        assert (mask[scene.owner == 1] == 2 + scene.shape).all()
        assert len(scene.solids) == scene.count
    assert targets.parts == ("sky", "ground", *SHAPES)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_stronger_is_further_from_the_picture_and_the_same_each_time(tmp_path, name):
    dataset = open_dataset(draw_photos(tmp_path / "photos", 4, side=64))
    clean = np.stack([np.asarray(dataset.load(i), np.float32) for i in range(4)])
    away = []
    for strength in STRENGTHS:
        worse = Corrupted(dataset, name, strength)
        pixels = np.stack([np.asarray(worse.load(i), np.float32) for i in range(4)])
        assert np.array_equal(pixels[2], np.asarray(worse.subset([2]).load(0)))
        away.append(np.sqrt(np.mean((pixels - clean) ** 2)))
    assert away == sorted(away) and away[0] > 0.3 and away[-1] > 1.5 * away[0]
