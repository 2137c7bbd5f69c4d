"""Images in the rows of Arrow and Parquet files: what Hugging Face datasets writes, and any column of image files."""

import io
import json
import os
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from openjepa.arrow import cache_file, no_room
from openjepa.data.dataset import ImageFiles
from openjepa.data.sources.labels import Labels, labels_of
from openjepa.data.sources.lists import open_list
from openjepa.data.sources.registry import Progress
from openjepa.data.storage.names import Names, joined, printable
from openjepa.data.storage.remote import is_remote, open_file, state
from openjepa.data.storage.split_path import locate
from openjepa.errors import BadImage, UsageError
from openjepa.files import atomic_file

TABLES = (".parquet", ".arrow")
LAYOUT = 1
ROWS = 64  # unpacked at once
BINARY = (pa.types.is_binary, pa.types.is_large_binary)


def takes(name: str) -> bool:
    place = locate(name)
    return place.suffix in TABLES and not place.inside


def open(name: str, progress: Progress = None) -> ImageFiles:
    """The images in the rows of a Parquet or Arrow file, or those that a Parquet file lists. Raises UsageError."""
    place = locate(name)
    return open_tables([place.file], place.shown, progress)


def open_tables(files: list[str], shown: str, progress: Progress = None) -> ImageFiles:
    """Rows of Parquet or Arrow files; a Parquet file without a column of images is a list of paths. UsageError."""
    if files and files[0].lower().endswith(".parquet"):
        if image_column(parquet_schema(files[0])) is None:
            if len(files) > 1:
                raise UsageError(f"{shown} has no column of images: give one list of paths, or files with images")
            return open_list(files[0], shown)
        files = unpacked(files, progress)
    try:
        rows = Rows(files)
    except (pa.ArrowException, IndexError) as error:
        reason = str(error).splitlines()[0] if files else "no .arrow file"
        raise UsageError(f"{shown} is not a readable data set ({reason}): save or copy it again") from error
    if rows.column is None:
        raise UsageError(f"{shown} has no column of images: it has {', '.join(rows.tables[0].column_names)}")
    if not len(rows):
        raise UsageError(f"no images in {shown}: found 0 rows")
    return ImageFiles(shown, rows, rows.names(), *rows.labels())


class Rows:
    """Images in a column of Arrow files: binary, or {bytes, path} as Hugging Face has it; `path` beside the file.

    Raises pa.ArrowInvalid or OSError from the first use if a file is no Arrow file.
    """

    window = 0

    def __init__(self, files: list[str], column: str | None = None) -> None:
        self.files = files
        self._tables: list[pa.Table] | None = None
        self.column = column or image_column(self.tables[0].schema)
        self._ends = np.cumsum([len(table) for table in self.tables])

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def tables(self) -> list[pa.Table]:
        if self._tables is None:
            self._tables = [_open_arrow(file) for file in self.files]
        return self._tables

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_tables": None}

    def open(self, row: int) -> BinaryIO:
        cell = self._cell(row)
        if isinstance(cell, pa.StructScalar):
            if not cell["bytes"].is_valid and cell["path"].is_valid:
                return open_file(os.path.join(os.path.dirname(self._file(row)), cell["path"].as_py()))
            cell = cell["bytes"]
        if not cell.is_valid:
            raise BadImage("empty row")
        return io.BytesIO(cell.as_buffer())

    def stamp(self, row: int) -> tuple[int, ...]:
        cell = self._cell(row)
        cell = cell["bytes"] if isinstance(cell, pa.StructScalar) else cell
        return (cell.as_buffer().size if cell.is_valid else 0,)

    def _file(self, row: int) -> str:
        return self.files[int(np.searchsorted(self._ends, row, "right"))]

    def _cell(self, row: int) -> pa.Scalar:
        number = int(np.searchsorted(self._ends, row, "right"))
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
        known = _features(self.tables[0].schema)
        columns = [name for name in self.tables[0].column_names if name != self.column]
        return labels_of(
            (printable(name), _values(self.tables, name), known.get(name, {}).get("names")) for name in columns
        )


def _values(tables: list[pa.Table], name: str) -> list:
    kinds = (pa.types.is_integer, pa.types.is_boolean, pa.types.is_string, pa.types.is_large_string)
    if not all(name in table.column_names and any(is_(table[name].type) for is_ in kinds) for table in tables):
        return []
    return [value for table in tables for value in table[name].to_pylist()]


def _features(schema: pa.Schema) -> dict:
    """Hugging Face's description of the columns, or {}."""
    try:
        found = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {name: about for name, about in found.items() if isinstance(about, dict)}
    except (KeyError, ValueError, TypeError):
        return {}


def image_column(schema: pa.Schema) -> str | None:
    """The first column that holds the bytes of files, one that Hugging Face calls an Image before others; or None."""
    fitting = [field.name for field in schema if _holds_files(field.type)]
    called = [name for name, about in _features(schema).items() if about.get("_type") == "Image"]
    return next((name for name in (*called, *fitting) if name in fitting), None)


def _holds_files(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        names = {kind.field(number).name: kind.field(number).type for number in range(kind.num_fields)}
        return "path" in names and any(is_(names.get("bytes", pa.null())) for is_ in BINARY)
    return any(is_(kind) for is_ in BINARY)


def _open_arrow(file: str) -> pa.Table:
    source = pa.memory_map(file)
    try:
        return pa.ipc.open_stream(source).read_all()
    except pa.ArrowInvalid:
        return pa.ipc.open_file(source).read_all()


def parquet_schema(file: str) -> pa.Schema:
    """Raises UsageError if the file is not Parquet."""
    try:
        with open_file(file) as stream:
            return pq.ParquetFile(stream).schema_arrow
    except (OSError, pa.ArrowException) as error:
        raise _damaged(file, error) from error


def unpacked(files: list[str], progress: Progress = None) -> list[str]:
    """Arrow files with the rows of Parquet files, kept in the cache: rows of Parquet cannot be read one by one."""
    places = []
    for number, file in enumerate(files):
        size, version = state(file)
        place = cache_file("tables", LAYOUT, file if is_remote(file) else os.path.realpath(file), size, version)
        if not place.exists():
            _unpack(file, place)
        places.append(str(place))
        if progress:
            progress(number + 1, len(files))
    return places


def _unpack(file: str, place: Path) -> None:
    try:
        with open_file(file) as stream, atomic_file(place, shared=True) as part:
            source = pq.ParquetFile(stream)
            with pa.OSFile(str(part), "wb") as sink, pa.ipc.new_stream(sink, source.schema_arrow) as writer:
                for batch in source.iter_batches(ROWS):
                    writer.write_batch(batch)
    except pa.ArrowException as error:
        raise _damaged(file, error) from error
    except OSError as error:
        raise no_room(place, error) from error


def _damaged(file: str, error: Exception) -> UsageError:
    reason = (str(error).strip() or type(error).__name__).split("\n")[0]
    return UsageError(f"{printable(file)} is not a readable Parquet file ({reason}): copy or fetch it again")
