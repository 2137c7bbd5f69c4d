"""How many objects an image shows and how far the nearest is, from the files that people keep beside images."""

import csv
import io
import json
import math
import os
import xml.etree.ElementTree as ElementTree
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from openjepa.data.crops import Box, Frame
from openjepa.data.storage.listing import walk
from openjepa.data.storage.names import Names
from openjepa.data.storage.storage import Folder, Storage
from openjepa.data.storage.zip_members import read_zip
from openjepa.errors import UsageError, unknown

ANNOTATION_KINDS = "CLEVR scenes (.json), COCO (.json), VOC (.xml), a .csv with a row a box, or a folder of such files"
SIDES = ("xmin", "ymin", "xmax", "ymax")  # of a box, in VOC files and as columns
KIND_COLUMNS = ("kind", "class", "label", "name", "category")
NAME_COLUMNS = ("image", "filename", "file", "path", "image_path", "file_name")


class Thing(NamedTuple):
    """An object: its centre (x, y) in pixels of its image, its distance and its kind; None where it is not known."""

    centre: tuple[float, float] | None = None
    distance: float | None = None
    kind: str | None = None


@dataclass(frozen=True)
class Annotation:
    """`count` objects; `distance` of the nearest, in the file's units, or None where the format has no depth.

    things  the objects one by one; () where they are not known
    size    (width, height) of the image to which their centres refer, None where the file does not say
    """

    count: int
    distance: float | None = None
    things: tuple[Thing, ...] = field(default=(), compare=False)
    size: tuple[float, float] | None = field(default=None, compare=False)

    @classmethod
    def of(cls, things: Iterable[Thing], size: tuple[float, float] | None = None) -> "Annotation":
        """The annotation of objects that are known one by one."""
        things = tuple(things)
        depths = [thing.distance for thing in things if thing.distance is not None]
        return cls(len(things), min(depths, default=None), things, size)

    def only(self, kind: str) -> "Annotation":
        """The annotation without the objects of other kinds."""
        return Annotation.of((thing for thing in self.things if thing.kind == kind), self.size)

    def seen(self, frame: Frame, size: tuple[float, float] | None) -> "Annotation":
        """The annotation without the objects whose centre lies outside of what a frame shows of the image.

        `size` is (width, height) of the image where the annotation does not say. Objects without a centre are kept.
        """
        size = self.size or size
        if size is None or not self.things:
            return self
        left, top, right, bottom = frame.box(*size)
        kept = [t for t in self.things if t.centre is None or _lies_in(t.centre, (left, top, right, bottom))]
        return self if len(kept) == len(self.things) else Annotation.of(kept, size)


def _lies_in(point: tuple[float, float], box: Box) -> bool:
    return box[0] <= point[0] <= box[2] and box[1] <= point[1] <= box[3]


# What readers raise for files that are not as their format has it.
WRONG = (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError, ElementTree.ParseError)


def read_annotations(source: str, kind: str | None = None) -> dict[str, Annotation]:
    """Annotations by the image's name, relative to `source`, from any of `ANNOTATION_KINDS`, also inside a zip.

    Of the objects of one kind, where one is named. Raises UsageError for what is not there, not readable or holds no
    annotations, or none of that kind.
    """
    found = _read_all_files(source)
    if kind is None:
        return found
    kinds = {thing.kind for annotation in found.values() for thing in annotation.things if thing.kind}
    if not kinds:
        raise UsageError(f"{source} does not say of what kind objects are: leave out --kind, and all are counted")
    if kind not in kinds:
        raise UsageError(unknown("--kind", kind, sorted(kinds)))
    return {image: annotation.only(kind) for image, annotation in found.items()}


def _read_all_files(source: str) -> dict[str, Annotation]:
    found: dict[str, Annotation] = {}
    given_by: dict[str, str] = {}
    for name, content in _files(source):
        reader = READERS.get(PurePosixPath(name).suffix.lower())
        if not reader:
            continue
        try:
            read = _below(PurePosixPath(name).parent, reader(name, content))
        except WRONG as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise UsageError(f"{name} in {source} is not understood ({reason}): give {ANNOTATION_KINDS}") from error
        for image, annotation in read.items():
            other = given_by.setdefault(image, name)
            if found.setdefault(image, annotation) != annotation:
                raise UsageError(f"{other} and {name} in {source} say different things of {image}: name one of them")
    if not found:
        raise UsageError(f"{source} holds no annotations: give {ANNOTATION_KINDS}")
    return found


def _below(folder: PurePosixPath, read: dict[str, Annotation]) -> dict[str, Annotation]:
    """The names in a file are relative to its folder."""
    return {str(folder / image): annotation for image, annotation in read.items()}


def _files(source: str) -> Iterator[tuple[str, bytes]]:
    path = os.path.expanduser(source)
    if os.path.isdir(path):
        names = walk(path)[0]
        return _read_all(Folder(path, names), names)
    file = next((str(place) for place in (Path(path), *Path(path).parents) if os.path.isfile(place)), None)
    if file is None:
        raise UsageError(f"{source} does not exist: give {ANNOTATION_KINDS}")
    if file == os.path.normpath(path) and not zipfile.is_zipfile(file):
        names = Names.of([os.path.basename(file)])
        return _read_all(Folder(os.path.dirname(file), names), names)
    inside = os.path.relpath(path, file).replace(os.sep, "/")
    archive = read_zip(file)
    named = [n for n, name in enumerate(archive.names) if inside in (".", name) or name.startswith(inside + "/")]
    archive = archive.take(named)
    return ((name.removeprefix(inside + "/"), content) for name, content in _read_all(archive, archive.names))


def _read_all(storage: Storage, names: Names) -> Iterator[tuple[str, bytes]]:
    for row in names.order().tolist():
        if PurePosixPath(names[row]).suffix.lower() in READERS:
            with storage.open(row) as stream:
                yield names[row], stream.read()


def _read_json(name: str, content: bytes) -> dict[str, Annotation]:
    data = json.loads(content)
    if "questions" in data:
        return {}
    if "images" in data:
        return _coco(data)
    scenes = data.get("scenes", [data])
    return {scene["image_filename"]: _clevr(scene["objects"]) for scene in scenes}


def _clevr(objects: list[dict]) -> Annotation:
    """The pixel coordinates of an object are those of its centre, and its distance from the camera."""
    places = ([float(number) for number in thing["pixel_coords"]] for thing in objects)
    kinds = [thing.get("shape") for thing in objects]
    return Annotation.of(Thing((x, y), depth, kind) for (x, y, depth), kind in zip(places, kinds, strict=True))


def _coco(data: dict) -> dict[str, Annotation]:
    things: dict[Any, list[Thing]] = {image["id"]: [] for image in data["images"]}
    kinds = {one["id"]: str(one["name"]) for one in data.get("categories", [])}
    for one in data["annotations"]:
        left, top, width, height = map(float, one.get("bbox") or [math.nan] * 4)
        kind = kinds.get(one.get("category_id"))
        things[one["image_id"]].append(_thing(kind, left, top, left + width, top + height))
    sizes = {image["id"]: _size(image.get("width"), image.get("height")) for image in data["images"]}
    return {image["file_name"]: Annotation.of(things[image["id"]], sizes[image["id"]]) for image in data["images"]}


def _thing(kind: str | None, *box: float) -> Thing:
    """The object in a box (left, top, right, bottom), of which NaN is unknown."""
    known = all(map(math.isfinite, box))
    return Thing(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2) if known else None, kind=kind)


def _size(width: str | float | None, height: str | float | None) -> tuple[float, float] | None:
    """The size of an image, None where it is not stated: some files say 0."""
    size = float(width or 0), float(height or 0)
    return size if all(0 < side < math.inf for side in size) else None


def _read_xml(name: str, content: bytes) -> dict[str, Annotation]:
    root = ElementTree.fromstring(content)
    if root.tag != "annotation":
        raise ValueError(f"<{root.tag}> where <annotation> was expected")
    objects = root.findall("object")
    boxes = ([_number(one.findtext(f"bndbox/{side}")) for side in SIDES] for one in objects)
    things = [_thing(one.findtext("name"), *box) for one, box in zip(objects, boxes, strict=True)]
    size = _size(root.findtext("size/width"), root.findtext("size/height"))
    # The file's own name, because people rename images and forget the <filename> inside.
    return {PurePosixPath(name).stem: Annotation.of(things, size)}


def _read_csv(name: str, content: bytes) -> dict[str, Annotation]:
    rows = csv.DictReader(io.StringIO(content.decode("utf-8-sig")))
    column = next((c for c in rows.fieldnames or () if c.strip().lower() in NAME_COLUMNS), None)
    if column is None:
        raise ValueError(f"no column is called {', '.join(NAME_COLUMNS)}")
    sides = [next((c for c in rows.fieldnames or () if c.strip().lower() == side), "") for side in SIDES]
    called = next((c for c in rows.fieldnames or () if c.strip().lower() in KIND_COLUMNS), "")
    things: dict[str, list[Thing]] = {}
    for row in rows:
        found = things.setdefault(row[column], [])
        if any(value for key, value in row.items() if key != column):
            found.append(_thing(row.get(called) or None, *(_number(row.get(side)) for side in sides)))
    return {image: Annotation.of(found) for image, found in things.items()}


def _number(text: str | None) -> float:
    """NaN where it is none."""
    try:
        return float(text or math.nan)
    except ValueError:
        return math.nan


READERS = {".json": _read_json, ".xml": _read_xml, ".csv": _read_csv}
