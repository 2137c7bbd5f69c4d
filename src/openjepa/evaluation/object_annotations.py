"""How many objects an image shows and how far the nearest is, from the files that people keep beside images."""

import csv
import io
import json
import os
import xml.etree.ElementTree as ElementTree
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from openjepa.data.storage.listing import walk
from openjepa.data.storage.names import Names
from openjepa.data.storage.storage import Folder, Storage
from openjepa.data.storage.zip_members import read_zip
from openjepa.errors import UsageError

ANNOTATION_KINDS = "CLEVR scenes (.json), COCO (.json), VOC (.xml), a .csv with a row a box, or a folder of such files"
NAME_COLUMNS = ("image", "filename", "file", "path", "image_path", "file_name")


@dataclass(frozen=True)
class Annotation:
    """`count` objects; `distance` of the nearest, in the file's units, or None where the format has no depth."""

    count: int
    distance: float | None = None


def read_annotations(source: str) -> dict[str, Annotation]:
    """Annotations by the image's name as the file gives it, from any of `ANNOTATION_KINDS`, also inside a zip.

    Raises UsageError for what is not there, not readable or holds no annotations.
    """
    found: dict[str, Annotation] = {}
    given_by: dict[str, str] = {}
    for name, content in _files(source):
        reader = READERS.get(PurePosixPath(name).suffix.lower())
        if not reader:
            continue
        try:
            read = reader(name, content)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, ElementTree.ParseError) as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise UsageError(f"{name} in {source} is not understood ({reason}): give {ANNOTATION_KINDS}") from error
        for image, annotation in _below(PurePosixPath(name).parent, read).items():
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
    """The third pixel coordinate of an object is its distance from the camera."""
    depths = [float(thing["pixel_coords"][2]) for thing in objects]
    return Annotation(len(objects), min(depths, default=None))


def _coco(data: dict) -> dict[str, Annotation]:
    counts = dict.fromkeys((image["id"] for image in data["images"]), 0)
    for box in data["annotations"]:
        counts[box["image_id"]] += 1
    return {image["file_name"]: Annotation(counts[image["id"]]) for image in data["images"]}


def _read_xml(name: str, content: bytes) -> dict[str, Annotation]:
    root = ElementTree.fromstring(content)
    if root.tag != "annotation":
        raise ValueError(f"<{root.tag}> where <annotation> was expected")
    # The file's own name, because people rename images and forget the <filename> inside.
    return {PurePosixPath(name).stem: Annotation(len(root.findall("object")))}


def _read_csv(name: str, content: bytes) -> dict[str, Annotation]:
    rows = csv.DictReader(io.StringIO(content.decode("utf-8-sig")))
    column = next((c for c in rows.fieldnames or () if c.strip().lower() in NAME_COLUMNS), None)
    if column is None:
        raise ValueError(f"no column is called {', '.join(NAME_COLUMNS)}")
    counts: dict[str, int] = {}
    for row in rows:
        box = any(value for key, value in row.items() if key != column)
        counts[row[column]] = counts.get(row[column], 0) + box
    return {image: Annotation(count) for image, count in counts.items()}


READERS = {".json": _read_json, ".xml": _read_xml, ".csv": _read_csv}
