"""The labels that an index keeps of images, as columns by name: those of the source, and those of a file."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from openjepa.data.dataset import UNLABELLED, ImageDataset
from openjepa.data.sources.labels import labels_of
from openjepa.data.sources.lists import read_list
from openjepa.data.storage.names import printable
from openjepa.data.summary import counted
from openjepa.errors import UsageError, unknown
from openjepa.evaluation.annotations.name_matching import match_names
from openjepa.indexing.store import BASE, MOST_LABELS

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
RESERVED = {*BASE, "vector", "patches", "and", "or", "not", "in", "is", "null", "like", "true", "false", "between"}


def label_columns(dataset: ImageDataset, file: Path | None) -> pa.Table:
    """A row for each of n images: classes as text, numbers as float64, null where an image has none.

    Those of `file` replace those of the source that have the same name. Raises UsageError for a file that cannot be
    read, or that names none of the images.
    """
    columns = _of_source(dataset) | (_of_file(dataset.paths, file) if file else {})
    if len(columns) > MOST_LABELS:
        raise UsageError(f"{len(columns):,} columns of labels: an index keeps up to {MOST_LABELS}; leave some out")
    named: dict[str, pa.Array] = {}
    for name, values in columns.items():
        named[_free(column_name(name), named)] = values
    return pa.table(named) if named else pa.table({"": pa.nulls(len(dataset))}).drop([""])


def column_name(name: str) -> str:
    """A name that conditions can use: letters, digits and _, and none that the table or a condition has already."""
    plain = re.sub(r"\W", "_", name, flags=re.ASCII) or "label"
    return f"label_{plain}" if plain.lower() in RESERVED or plain[0].isdigit() else plain


def _free(name: str, taken: dict[str, Any]) -> str:
    used = {other.lower() for other in taken}
    return name if name.lower() not in used else next(n for i in range(2, 9999) if (n := f"{name}_{i}") not in used)


def _of_source(dataset: ImageDataset) -> dict[str, pa.Array]:
    texts = {
        name: pa.array(dataset.classes[name], pa.string()).take(pa.array(values, mask=values == UNLABELLED))
        for name, values in dataset.labels.items()
    }
    return texts | _numbers(dataset.columns.numbers)


def _numbers(columns: Mapping[str, np.ndarray]) -> dict[str, pa.Array]:
    return {name: pa.array(values, pa.float64(), from_pandas=True) for name, values in columns.items()}


def given_labels(paths: Sequence[str], file: Path, column: str | None = None) -> dict[str, str]:
    """The label of each of `paths` that a table names, of one of its columns, the first by default. UsageError."""
    cells = _cells(paths, file)
    if column is not None and column not in cells:
        raise UsageError(f"{file}: {unknown('column', column, cells)}")
    texts = map(_text, cells[column or next(iter(cells))])
    return {path: text for path, text in zip(paths, texts, strict=True) if text is not None}


def _of_file(paths: Sequence[str], file: Path) -> dict[str, pa.Array]:
    cells = _cells(paths, file)
    numbers = labels_of((name, values, None) for name, values in cells.items()).columns.numbers
    texts = {name: pa.array([_text(value) for value in values], pa.string()) for name, values in cells.items()}
    return texts | _numbers(numbers)


def _cells(paths: Sequence[str], file: Path) -> dict[str, list[Any]]:
    """The columns of a table of labels, with a row for each of `paths`."""
    if file.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{file} is no table of labels: give a file that ends in {', '.join(SUFFIXES)}")
    listed, columns = read_list(str(file))
    if not columns or not listed:
        raise UsageError(f"{file} has no labels beside paths: add a column and rows")
    by_name = {printable(path): number for number, path in enumerate(listed)}
    matched = match_names(list(paths), [*by_name], "labels")
    if not matched:
        images = counted(len(paths), "image")
        raise UsageError(f"{file} names none of the {images} ({printable(listed[0])}, ...): write their paths")
    places = [by_name[matched[path]] if path in matched else len(listed) for path in paths]
    return {printable(name): [[*values, None][place] for place in places] for name, values in columns.items()}


def _text(value: Any) -> str | None:
    return None if value is None or value != value or not str(value).strip() else printable(str(value))
