"""Lists of images of an index in the formats of tools for labels and data sets."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc

from openjepa._version import __version__
from openjepa.errors import UsageError, unknown
from openjepa.escaping import utf8
from openjepa.files.writing import atomic_file, usage_error
from openjepa.indexing.searchable import Searchable

GENERATOR = {"generator": f"openjepa {__version__}"}  # first in each file, which files/marks.py knows them by
LOCAL_FILES = "/data/local-files/?d="  # how Label Studio names a file below its document root


class Entry(NamedTuple):
    """An image of a list.

    path        in the index; `file` is absolute
    label       what the list says of it, with the `confidence` of that where there is one
    about       the other columns of the list
    """

    path: str
    file: Path
    size: tuple[int, int]
    label: str
    confidence: float | None
    about: dict[str, Any]


def check_format(name: str | None, out: Path | None, suffixes: Mapping[str, str]) -> None:
    """Raise UsageError for a format that is none of `suffixes`, or a file without the suffix of its format."""
    if name is None:
        return
    if name not in suffixes:
        raise UsageError(unknown("--format", name, suffixes))
    if out is None or out.suffix != suffixes[name]:
        raise UsageError(f"--format {name} is not possible: give --out with a name that ends in {suffixes[name]}")


def write_list(out: Path, index: Searchable, table: pa.Table, name: str) -> None:
    """Write a list of `Index.duplicates`, `outliers`, `clusters`, `sample` or `spread_labels` in a format.

    Raises UsageError where the images do not lie in a folder of this machine, or the file cannot be written.
    """
    content = FORMATS[name]([*entries(index, table)], Path(index.about.source))
    with usage_error(out), atomic_file(out) as part:
        part.write_text(utf8(json.dumps(content, ensure_ascii=False, allow_nan=False)), encoding="utf-8")


def entries(index: Searchable, table: pa.Table) -> Iterator[Entry]:
    """The images of a list. Raises UsageError where one is no file in a folder of this machine."""
    root = Path(index.about.source)
    if not root.is_dir():
        raise UsageError(f"--format names files, and the images of {index.folder} are {root}, which is no folder here")
    for path in table["path"].to_pylist():
        if not (root / path).is_file():
            raise UsageError(
                f"--format names files, and {root / path} is none: bring {index.folder} up to date, or give another "
                "format where images are parts of other files"
            )
    rows = table.to_pylist()
    sizes = index.sizes_at(pc.index_in(table["path"], index.paths).to_numpy())
    for row, size in zip(rows, sizes, strict=True):
        path = row.pop("path")
        label, confidence = _label(row)
        about = {name: value for name, value in row.items() if value is not None and name != "label"}
        yield Entry(path, root / path, size, label, confidence, about)


def _label(row: dict[str, Any]) -> tuple[str, float | None]:
    """What a list says of an image: the label that it was given, or else the one that spread to it, and so on."""
    if "label" in row:
        return (row["given"], None) if row["given"] is not None else (row["label"], row["confidence"])
    if "kind" in row:
        return row["kind"], None
    if "cluster" in row:
        return f"cluster {row['cluster']}", None
    return "outlier" if "score" in row else "sample", None


def fiftyone(listed: list[Entry], root: Path) -> dict[str, Any]:
    """For `fiftyone.Dataset.from_dir` with FiftyOneImageClassificationDataset and `labels_path`."""
    labels = {str(entry.file.absolute()): _classification(entry) for entry in listed}
    return {"info": GENERATOR, "classes": None, "labels": labels}


def _classification(entry: Entry) -> dict[str, Any]:
    confidence = {} if entry.confidence is None else {"confidence": entry.confidence}
    return {"label": entry.label, **confidence, "attributes": entry.about}


def label_studio(listed: list[Entry], root: Path) -> list[dict[str, Any]]:
    """Tasks with predictions for a project with `<Choices name="label" toName="image">`; root's parent is served."""
    return [_task(entry, root) for entry in listed]


def _task(entry: Entry, root: Path) -> dict[str, Any]:
    choice = {"from_name": "label", "to_name": "image", "type": "choices", "value": {"choices": [entry.label]}}
    score = {} if entry.confidence is None else {"score": entry.confidence}
    image = LOCAL_FILES + quote(f"{root.absolute().name}/{entry.path}")
    return {
        "meta": GENERATOR,
        "data": {"image": image, "path": entry.path, **entry.about},
        "predictions": [{"model_version": GENERATOR["generator"], **score, "result": [choice]}],
    }


def coco(listed: list[Entry], root: Path) -> dict[str, Any]:
    """COCO, with a box around the whole image for its label."""
    names = {name: number for number, name in enumerate(sorted({entry.label for entry in listed}), 1)}
    images, boxes = [], []
    for number, entry in enumerate(listed, 1):
        width, height = entry.size
        images.append({"id": number, "file_name": entry.path, "width": width, "height": height})
        place = {"bbox": [0, 0, width, height], "area": width * height, "iscrowd": 0, "segmentation": []}
        score = {} if entry.confidence is None else {"score": entry.confidence}
        ids = {"id": number, "image_id": number, "category_id": names[entry.label]}
        boxes.append(ids | place | score | {"attributes": entry.about})
    categories = [{"id": number, "name": name} for name, number in names.items()]
    return {"info": GENERATOR, "images": images, "annotations": boxes, "categories": categories}


FORMATS: dict[str, Callable[[list[Entry], Path], Any]] = {
    "fiftyone": fiftyone,
    "label-studio": label_studio,
    "coco": coco,
}
