"""Images in the rows of Arrow and Parquet files: what Hugging Face datasets writes, and any column of image files."""

import contextlib
import errno
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from openjepa.arrow import cache_file, no_room
from openjepa.data.dataset import ImageFiles
from openjepa.data.sources.labels import Labels, labels_of
from openjepa.data.sources.lists import PATH_COLUMNS, open_list
from openjepa.data.sources.registry import Progress
from openjepa.data.storage.names import Names, joined, printable
from openjepa.data.storage.remote import is_remote, open_file, state
from openjepa.data.storage.split_path import inside_of, locate
from openjepa.data.storage.table_files import (
    features_of,
    image_column,
    is_compressed,
    lists_paths,
    open_arrow,
    unfit_column,
    unfit_in,
    unpack,
)
from openjepa.errors import BadImage, UsageError
from openjepa.files import atomic_file
from openjepa.safety.limited import Child, ReaderFailed
from openjepa.safety.limits import reader_seconds

TABLES = (".parquet", ".arrow")
LAYOUT = 1
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def takes(name: str) -> bool:
    place = locate(name)
    return place.suffix in TABLES and not place.inside


def open(name: str, progress: Progress = None) -> ImageFiles:
    """The images in the rows of a Parquet or Arrow file, or those that a Parquet file lists. Raises UsageError."""
    place = locate(name)
    return open_tables([place.file], place.shown, progress)


def open_tables(files: list[str], shown: str, progress: Progress = None) -> ImageFiles:
    """Rows of Parquet or Arrow files; a Parquet file without a column of images is a list of paths. UsageError."""
    if not files:
        raise UsageError(f"{shown} is not a readable data set (no .arrow file): save or copy it again")
    places = unpacked(files, progress)
    if places is None:
        if len(files) > 1:
            raise UsageError(f"{shown} has no column of images: give one list of paths, or files with images")
        return _listed(files[0], shown)
    rows = Rows(places, homes=[os.path.dirname(file) for file in files])
    if not len(rows):
        raise UsageError(f"no images in {shown}: found 0 rows")
    return ImageFiles(shown, rows, rows.names(), *rows.labels())


def _listed(file: str, shown: str) -> ImageFiles:
    """The images that a Parquet file lists. Raises UsageError, which names a column such as `image` of a wrong type."""
    try:
        return open_list(file, shown)
    except UsageError as error:
        with Child() as child, contextlib.suppress(OSError, ReaderFailed):
            if unfit := child.call(unfit_in, file, PATH_COLUMNS):
                raise UsageError(f"{shown} has no column of images: {unfit}") from error
        raise


class Rows:
    """Images in a column of Arrow files: binary, or {bytes, path} as Hugging Face has it.

    files   uncompressed Arrow files
    homes   for each the folder that `path`s without bytes are relative to; none leads out of it, or
    roots   into one of these folders, which `path`s may also name whole

    Raises UsageError if a file is no Arrow file, or has no such column.
    """

    window = 0

    def __init__(
        self, files: list[str], column: str | None = None, homes: Sequence[str] = (), roots: Sequence[str] = ()
    ) -> None:
        self.files, self.homes, self.roots = files, homes or [os.path.dirname(file) for file in files], roots
        self._tables: list[pa.Table] | None = None
        self.column = column or image_column(self.tables[0].schema)
        if self.column is None:
            names = ", ".join(map(printable, self.tables[0].column_names[:20]))
            found = unfit_column(self.tables[0].schema) or f"it has {names or 'none'}"
            raise UsageError(f"{printable(files[0])} has no column of images: {found}")
        kind = self.tables[0].schema.field(self.column).type
        for file, table in zip(files, self.tables, strict=True):
            if self.column not in table.column_names or table.schema.field(self.column).type != kind:
                raise UsageError(f"{printable(file)} has other columns than {printable(files[0])}: give one of them")
        self._ends = np.cumsum([len(table) for table in self.tables])

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def tables(self) -> list[pa.Table]:
        if self._tables is None:
            self._tables = [_opened(file) for file in self.files]
        return self._tables

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_tables": None}

    def open(self, row: int) -> BinaryIO:
        cell = self._cell(row)
        if isinstance(cell, pa.StructScalar):
            if not cell["bytes"].is_valid and cell["path"].is_valid:
                return open_file(self._beside(self._number(row), cell["path"].as_py()))
            cell = cell["bytes"]
        if not cell.is_valid:
            raise BadImage("empty row")
        return io.BytesIO(cell.as_buffer())

    def stamp(self, row: int) -> tuple[int, ...]:
        cell = self._cell(row)
        if isinstance(cell, pa.StructScalar):
            if not cell["bytes"].is_valid and cell["path"].is_valid:
                return (state(self._beside(self._number(row), cell["path"].as_py()))[0] or 0,)
            cell = cell["bytes"]
        return (cell.as_buffer().size if cell.is_valid else 0,)

    def _beside(self, number: int, path: str) -> str:
        """The file that a row names. Raises BadImage if it lies elsewhere than it may."""
        found = inside_of(self.homes[number], path, self.roots)
        if found is None:
            raise BadImage("names a file outside of the folder of its table")
        return found

    def _number(self, row: int) -> int:
        return int(np.searchsorted(self._ends, row, "right"))

    def _cell(self, row: int) -> pa.Scalar:
        number = self._number(row)
        start = int(self._ends[number - 1]) if number else 0
        return self.tables[number][self.column][int(row) - start]

    def names(self) -> Names:
        """The `path` of every row if no two are the same, else STEM-000000 by the file's name."""
        if pa.types.is_struct(self.tables[0].schema.field(self.column).type):
            paths = [pc.struct_field(table[self.column], "path") for table in self.tables]
            if not any(part.null_count for part in paths):
                found = joined([Names(part) for part in paths])
                if len(pc.unique(found.array)) == len(found):
                    return found
        stems = (Path(file).stem for file in self.files)
        return joined([Names.numbered(stem, len(table)) for stem, table in zip(stems, self.tables, strict=True)])

    def labels(self) -> Labels:
        schema = self.tables[0].schema
        known = features_of(schema)
        columns = [field for field in schema if field.name != self.column]
        return labels_of(
            (printable(field.name), _values(self.tables, field.name), _class_names(known.get(field.name), field.type))
            for field in columns
        )


def _values(tables: list[pa.Table], name: str) -> list:
    texts, numbers = (pa.types.is_string, pa.types.is_large_string), (pa.types.is_integer, pa.types.is_floating)
    kinds = (*texts, *numbers, pa.types.is_boolean, _is_list_of_texts)
    if not all(name in table.column_names and any(is_(table[name].type) for is_ in kinds) for table in tables):
        return []
    return [value for table in tables for value in table[name].to_pylist()]


def _is_list_of_texts(kind: pa.DataType) -> bool:
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    return is_list and (pa.types.is_string(kind.value_type) or pa.types.is_large_string(kind.value_type))


def _class_names(about: dict | None, kind: pa.DataType) -> list[str] | None:
    """What Hugging Face calls the classes of a column of whole numbers; None where it says nothing of the kind."""
    names = (about or {}).get("names") if pa.types.is_integer(kind) else None
    return names if isinstance(names, list) and names and all(isinstance(name, str) for name in names) else None


def _opened(file: str) -> pa.Table:
    try:
        return open_arrow(file)
    except (OSError, ValueError, RecursionError, pa.ArrowException) as error:
        raise _damaged(file, error, "Arrow") from error


def unpacked(files: list[str], progress: Progress = None) -> list[str] | None:
    """Arrow files whose rows can be read one by one: those of Parquet and compressed Arrow unpacked in the cache.

    None for Parquet without a column of images. Raises UsageError for files that are damaged, or unpack to too much.
    """
    places: list[str] = []
    with Child() as child:
        for number, file in enumerate(files):
            place = _unpacked(file, child)
            if place is None:
                return None
            places.append(place)
            if progress:
                progress(number + 1, len(files))
    return places


def _unpacked(file: str, child: Child) -> str | None:
    kind = "Parquet" if file.lower().endswith(".parquet") else "Arrow"
    try:
        if kind == "Arrow" and not is_compressed(file):
            return file
        size, version = state(file)
        place = cache_file("tables", LAYOUT, file if is_remote(file) else os.path.realpath(file), size, version)
        if not place.exists():
            if kind == "Parquet" and child.call(lists_paths, file):
                return None
            with atomic_file(place) as part:
                child.call(unpack, file, str(part), size or 0, seconds=reader_seconds(size or 0))
    except (OSError, ValueError, pa.ArrowException, ReaderFailed) as error:
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            raise no_room(place, error) from error
        raise _damaged(file, error, kind) from error
    return str(place)


def _damaged(file: str, error: Exception, kind: str) -> UsageError:
    reason = (str(error).strip() or type(error).__name__).split("\n")[0][:200]
    return UsageError(printable(f"{file} is not a readable {kind} file ({reason}): copy or fetch it again"))
