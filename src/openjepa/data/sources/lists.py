"""Lists of image paths: text, CSV, TSV and Parquet, with columns that may be labels."""

import csv
import io
import json
import os
from collections.abc import Iterable
from typing import Any

import numpy as np

from openjepa.data.dataset import ImageFiles
from openjepa.data.sources.labels import Labels, labels_of
from openjepa.data.sources.registry import Progress
from openjepa.data.storage.layout import candidates
from openjepa.data.storage.names import Names, printable
from openjepa.data.storage.remote import is_remote, open_file, state
from openjepa.data.storage.split_path import locate
from openjepa.data.storage.storage import Folder, on_one_line
from openjepa.data.storage.table_files import read_columns
from openjepa.errors import UsageError
from openjepa.safety.limited import ReaderFailed, run_limited
from openjepa.safety.limits import MAX_COLUMNS, MAX_ENTRIES, MAX_LIST_BYTES, reader_seconds

LISTS = (".txt", ".csv", ".tsv")
PATH_COLUMNS = ("path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "img")
METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")  # of Hugging Face's imagefolder


def takes(name: str) -> bool:
    place = locate(name)
    return place.suffix in LISTS and not place.inside


def open(name: str, progress: Progress = None) -> ImageFiles:
    """The images that a text, CSV or TSV file lists. Raises UsageError."""
    place = locate(name)
    return open_list(place.file, place.shown)


def open_list(path: str, shown: str) -> ImageFiles:
    """The images that a file lists and that exist; the other columns are labels. Raises UsageError."""
    paths, columns = read_list(path)
    root = os.path.dirname(path)
    chosen, skipped = candidates(Names.of(paths), shown)
    reasons = ["" if is_remote(path) else absence(os.path.join(root, paths[row])) for row in chosen]
    absent = [(paths[row], reason) for row, reason in zip(chosen, reasons, strict=True) if reason]
    chosen = chosen[[not reason for reason in reasons]]
    if not len(chosen):
        raise UsageError(
            f"none of the {len(absent):,} images listed in {shown} exists ({printable(absent[0][0])}, ...): "
            "write paths that are absolute or relative to the folder of the list"
        )
    names = Names.of(paths[row] for row in chosen)
    return ImageFiles(shown, Folder(root, names), names, *columns_at(columns, chosen), on_one_line(absent) + skipped)


def read_list(file: str) -> tuple[list[str], dict[str, list[Any]]]:
    """Paths as they are listed, relative to the list's folder, and the other columns. Raises UsageError."""
    shown = printable(file)
    try:
        columns = _READERS[os.path.splitext(file)[1].lower()](file)
        _check_names(columns)
    except OSError as error:
        raise UsageError(f"{shown} cannot be read: {error.strerror or error}") from error
    except (csv.Error, ValueError, RecursionError, ReaderFailed) as error:
        reason = printable((str(error).strip() or type(error).__name__).splitlines()[0][:200])
        raise UsageError(f"{shown} is not understood ({reason}): write it again") from error
    if not columns:
        return [], {}
    name = next(filter(_is_path_column, columns), None)
    if name is None:
        named = printable(", ".join(list(columns)[:20]))[:1000]
        raise UsageError(f"{shown} has the columns {named}: call the one with the paths path")
    places = [row for row, path in enumerate(columns[name]) if path]
    paths = [os.path.normpath(str(columns[name][row])).replace(os.sep, "/") for row in places]
    return paths, {key: [values[row] for row in places] for key, values in columns.items() if key != name}


def _check_names(columns: dict[str, list[Any]]) -> None:
    """Raises ValueError for more columns or rows than are read, and for texts that can be no names of files."""
    if len(columns) > MAX_COLUMNS.get():
        raise ValueError(f"{len(columns):,} columns; {MAX_COLUMNS.words()}")
    rows = max(map(len, columns.values()), default=0)
    if rows > MAX_ENTRIES.get():
        raise ValueError(f"{rows:,} rows; {MAX_ENTRIES.words()}")
    for name in filter(_is_path_column, columns):
        for path in columns[name]:
            os.fsencode(str(path))


def _is_path_column(name: str) -> bool:
    return name.strip().lower() in PATH_COLUMNS


def columns_at(columns: dict[str, list[Any]], rows: Iterable[int]) -> Labels:
    """The labels of some rows."""
    chosen = [int(row) for row in rows]
    return labels_of((printable(name), [values[row] for row in chosen], None) for name, values in columns.items())


def metadata_of(root: str, names: Names) -> Labels:
    """Labels from the metadata file that Hugging Face's imagefolder keeps at the top of a folder, if there is one."""
    file = next((path for name in METADATA if os.path.isfile(path := os.path.join(root, name))), None)
    if file is None:
        return Labels()
    paths, columns = read_list(file)
    row = {path: number for number, path in enumerate(paths)}
    places = [row.get(names.raw(place), -1) for place in range(len(names))]
    if set(places) == {-1}:
        return Labels()
    padded = {name: [*values, None] for name, values in columns.items()}
    return columns_at(padded, np.array(places) % (len(paths) + 1))


def _read_text(file: str) -> dict[str, list[Any]]:
    lines = (line.strip() for line in _text(file).split("\n"))
    return {"path": [line for line in lines if line and not line.startswith("#")]}


def _read_csv(file: str) -> dict[str, list[Any]]:
    text = _text(file)
    between = "\t" if file.lower().endswith(".tsv") else ","
    head, *rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=between) if row] or [[]]
    odd = next((number for number, row in enumerate(rows) if len(row) != len(head)), None)
    if odd is not None:
        raise ValueError(f"row {odd + 2} has {len(rows[odd])} values, the first has {len(head)}")
    return {name: [row[place] for row in rows] for place, name in enumerate(head)}


def _read_jsonl(file: str) -> dict[str, list[Any]]:
    rows = [json.loads(line) for line in _text(file).split("\n") if line.strip()]
    odd = [row for row in rows if not isinstance(row, dict)]
    if odd:
        raise ValueError(f"a line is {json.dumps(odd[0])[:60]}, where an object was expected")
    names = dict.fromkeys(name for row in rows for name in row)
    if len(names) > MAX_COLUMNS.get():
        raise ValueError(f"{len(names):,} columns; {MAX_COLUMNS.words()}")
    return {name: [_plain(row.get(name)) for row in rows] for name in names}


def _plain(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, dict | list) else value


def _read_parquet(file: str) -> dict[str, list[Any]]:
    return run_limited(read_columns, file, seconds=reader_seconds(state(file)[0] or 0))


def _text(file: str) -> str:
    most = MAX_LIST_BYTES.get()
    with open_file(file) as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        raise ValueError(f"larger than {most:,} bytes; {MAX_LIST_BYTES.words()}")
    return content.decode("utf-8-sig", "surrogateescape")


_READERS = {
    ".txt": _read_text,
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
}


def absence(path: str) -> str:
    """Why a listed path is no file: "a folder", "missing", or "" if it is one."""
    return "" if os.path.isfile(path) else "a folder" if os.path.isdir(path) else "missing"
