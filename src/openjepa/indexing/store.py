"""The LanceDB table of an index: a row for each image. Every change of it is one transaction.

What a table says of itself is checked when it is opened: its columns, their types, and the `About` in its metadata.
"""

import contextlib
import os
import stat
import warnings
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from openjepa.errors import UsageError
from openjepa.indexing.patch_tokens import PATCHES, PatchGrid, field_of, grid_of
from openjepa.optional import require
from openjepa.safety.schema import Name, PositiveInt, Schema, Text, parse_json

LAYOUT = 1  # raised when the columns change, so that older versions refuse the table in words
TABLE = "images"
KEY = b"openjepa.index"
GREY_SIDE = 16  # pixels of the grey thumbnails that near duplicates are found by
STAMP_BYTES = 16
MOST_DIMENSIONS, MOST_LABELS = 65_536, 200
AT_ONCE = 500  # rows of a delete
KEPT = timedelta(days=1)  # older versions of the table are deleted, since a search may still read one
PANICS = ("PanicException", "RustPanic")  # what a fault in Rust raises
AGAIN = "delete it and index the images again"
BASE = {
    "path": pa.string(),
    "folder": pa.string(),
    "width": pa.int32(),
    "height": pa.int32(),
    "bytes": pa.int64(),
    "captured": pa.timestamp("s"),
    "brightness": pa.float32(),
    "contrast": pa.float32(),
    "sharpness": pa.float32(),
    "content_hash": pa.string(),
    "pixel_hash": pa.string(),
    "stamp": pa.binary(STAMP_BYTES),
    "grey": pa.binary(GREY_SIDE**2),
    "thumbnail": pa.binary(),
}
YEARS = (-62_135_596_800, 253_402_300_799)  # first and last second of the years 1 to 9999, from 1970 on
MEASURED = frozenset({"vector", "brightness", "contrast", "sharpness"})
Found = TypeVar("Found", pa.Table, pa.RecordBatch)
LABEL_TYPES = (pa.string(), pa.float64())


class About(Schema):
    """What an index is of.

    model        as the user named it, absolute where it is a folder; `step` of a run
    model_hash   of weights and preprocessing; vectors of another model never join
    source       the images as the user named them, absolute where they are local
    version      of openjepa that made the index
    """

    layout: PositiveInt
    version: Name
    model: Text
    step: PositiveInt | None
    pooling: Name
    model_hash: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    dimensions: Annotated[int, Field(ge=1, le=MOST_DIMENSIONS)]
    image_size: tuple[PositiveInt, PositiveInt]
    max_stretch: Annotated[float, Field(ge=0)] | None
    source: Text


def lancedb() -> ModuleType:
    """LanceDB; raises UsageError without the extra."""
    os.environ.setdefault("LANCEDB_LOG", "error")  # else it warns of each table that is new
    # Workers that read images are forked after it was imported, and never use it.
    warnings.filterwarnings("ignore", "lancedb fork support", RuntimeWarning)
    return require("lancedb", "index")


class Outdated(UsageError):
    """The version of an index that was opened is deleted, because the index was brought up to date since."""


class Store:
    """An opened table: `about` it, and its rows as they were when it was opened or last changed here."""

    def __init__(self, folder: Path, table: Any, about: About) -> None:
        self.folder, self.table, self.about = folder, table, about

    @classmethod
    def create(
        cls, folder: Path, about: About, labels: dict[str, pa.DataType], patches: PatchGrid | None = None
    ) -> "Store":
        """A new table without rows in `folder`, with a column of patch tokens for `patches`. Raises UsageError."""
        schema = _schema(about, labels)
        schema = schema.append(field_of(patches)) if patches else schema
        with _writing(folder):
            table = lancedb().connect(_address(folder)).create_table(TABLE, schema=schema, mode="overwrite")
        return cls(folder, table, about)

    @classmethod
    def open(cls, folder: Path) -> "Store":
        """Raises UsageError for a folder that is no index, one that is damaged, and one of a newer version."""
        if not holds_index(folder):
            raise UsageError(f"{folder} is not an index: make one with openjepa index MODEL DATA --out {folder}")
        _check_files(table_folder(folder))
        with reading(folder):
            table = lancedb().connect(_address(folder)).open_table(TABLE)
            schema = table.schema
        text = (schema.metadata or {}).get(KEY)
        if text is None:
            raise UsageError(f"{folder} holds a table that openjepa did not write: give another name")
        about = parse_json(text, About, str(folder), AGAIN)
        if about.layout > LAYOUT:
            raise UsageError(f"{folder} is of a newer openjepa ({about.version}): upgrade, or index the images again")
        _check_schema(folder, schema, about)
        return cls(folder, table, about)

    @property
    def labels(self) -> dict[str, pa.DataType]:
        """The columns that hold labels, with their types."""
        known = {*BASE, "vector", PATCHES}
        return {field.name: field.type for field in self.table.schema if field.name not in known}

    @property
    def patches(self) -> PatchGrid | None:
        """What its patch tokens are; None where it has none. Raises UsageError for a damaged table."""
        schema = self.table.schema
        return grid_of(schema.field(PATCHES), str(self.folder), AGAIN) if PATCHES in schema.names else None

    def __len__(self) -> int:
        with self._reading():
            return self.table.count_rows()

    def read(self, columns: Sequence[str], where: str | None = None) -> pa.Table:
        """Columns of all rows, or of those that an SQL condition made by `filters` holds for, in their stored order."""
        with self._reading():
            return self._checked(self._query(columns, where).to_arrow())

    def row_ids(self, where: str | None = None) -> np.ndarray:
        """LanceDB's numbers of rows, uint64, in their stored order."""
        with self._reading():
            found = self._query(["path"], where).with_row_id(True).to_arrow()
        return found["_rowid"].to_numpy()

    def take(self, row_ids: Sequence[int], columns: Sequence[str]) -> pa.Table:
        """Columns of the rows of some numbers, in the order of these."""
        with self._reading():
            found = self.table.take_row_ids([*row_ids]).select([*columns]).with_row_id().to_arrow()
        places = pc.index_in(pa.array(row_ids, pa.uint64()), found["_rowid"])
        return self._checked(found.select([*columns]).take(places))

    def batches(self, columns: Sequence[str], most: int = 1024) -> Iterator[pa.RecordBatch]:
        """Columns of all rows, up to so many at a time."""
        with self._reading():
            yield from map(self._checked, self._query(columns, None).to_batches(most))

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        """As `reading`; raises Outdated where the opened version may be deleted, because a later one is stored."""
        try:
            with reading(self.folder):
                yield
        except UsageError as error:
            if self._is_latest():
                raise
            again = f"{self.folder} was brought up to date since it was opened: open it again"
            raise Outdated(again) from error.__cause__

    def _is_latest(self) -> bool:
        """Whether no later version is stored; also where none can be read."""
        with contextlib.suppress(UsageError), reading(self.folder):
            return bool(lancedb().connect(_address(self.folder)).open_table(TABLE).version == self.table.version)
        return True

    def _checked(self, found: Found) -> Found:
        """Rows as they are; raises UsageError where a measured number is none, or a time is no date."""
        for name in MEASURED.intersection(found.schema.names):
            column = found.column(name)
            values = pc.list_flatten(column) if name == "vector" else column
            if not np.isfinite(np.asarray(values.drop_null())).all():
                raise UsageError(f"{self.folder} is damaged: {name} of an image is not finite: {AGAIN}")
        if "captured" in found.schema.names:
            seconds = np.asarray(found.column("captured").cast(pa.int64()).drop_null())
            if ((seconds < YEARS[0]) | (seconds > YEARS[1])).any():
                raise UsageError(f"{self.folder} is damaged: an image was captured in no year of 1 to 9999: {AGAIN}")
        return found

    def _query(self, columns: Sequence[str], where: str | None) -> Any:
        query = self.table.search().select(list(columns))
        return query.where(where) if where else query

    def add(self, rows: pa.Table, replace: bool = False) -> None:
        """Append rows; with `replace` those of the same paths are dropped in the same transaction."""
        with _writing(self.folder):
            if replace:
                merge = self.table.merge_insert("path").when_matched_update_all().when_not_matched_insert_all()
                merge.execute(self._fitted(rows))
            else:
                self.table.add(self._fitted(rows))

    def _fitted(self, rows: pa.Table) -> pa.Table:
        """Rows with their columns in the order and of the types of the table."""
        return rows.select(self.table.schema.names).cast(self.table.schema)

    def change(self, columns: pa.Table) -> None:
        """Replace some columns of the rows with the same paths."""
        with _writing(self.folder):
            self.table.merge_insert("path").when_matched_update_all().execute(columns)

    def remove(self, paths: Sequence[str]) -> None:
        for start in range(0, len(paths), AT_ONCE):
            listed = ", ".join(quoted(path) for path in paths[start : start + AT_ONCE])
            with _writing(self.folder):
                self.table.delete(f"path IN ({listed})")

    def set_labels(self, labels: dict[str, pa.DataType]) -> None:
        """Drop columns of labels that are not in `labels`, and add those that are new, without values."""
        have = self.labels
        gone = [name for name, kind in have.items() if labels.get(name) != kind]
        fresh = {name: kind for name, kind in labels.items() if have.get(name) != kind}
        with _writing(self.folder):
            if gone:
                self.table.drop_columns(gone)
            if fresh:
                names = {pa.string(): "string", pa.float64(): "double"}
                self.table.add_columns({name: f"cast(NULL as {names[kind]})" for name, kind in fresh.items()})

    def add_patches(self, patches: PatchGrid) -> None:
        """Give the table a column of patch tokens, and let every image count as changed, so that it is embedded."""
        with _writing(self.folder):
            self.table.update(values_sql={"stamp": "NULL", "content_hash": "concat('stale ', content_hash)"})
            self.table.add_columns(field_of(patches))

    def refresh(self) -> None:
        """Take up what other processes have written."""
        with reading(self.folder):
            self.table.checkout_latest()

    def tidy(self) -> None:
        """Join small files, and delete versions that are older than a day."""
        with _writing(self.folder):
            self.table.optimize(cleanup_older_than=KEPT)


def quoted(text: str) -> str:
    """A text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def holds_index(folder: Path) -> bool:
    """Whether a folder holds the table of an index, finished or damaged."""
    versions = table_folder(folder) / "_versions"
    return versions.is_dir() and any(path.suffix == ".manifest" for path in versions.iterdir())


def _check_files(table: Path) -> None:
    """Raise UsageError for a table that holds other than files and folders, because reading from a pipe never ends."""
    for base, folders, names in os.walk(table):
        for name in (*folders, *names):
            try:
                mode = os.lstat(os.path.join(base, name)).st_mode
            except FileNotFoundError:  # another process brings the index up to date
                continue
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise UsageError(f"{table.parent} is damaged: {name} is neither a file nor a folder: {AGAIN}")


def table_folder(folder: Path) -> Path:
    """The folder in an index that LanceDB writes."""
    return folder / f"{TABLE}.lance"


def _address(folder: Path) -> str:
    return str(folder.absolute())


def _schema(about: About, labels: dict[str, pa.DataType]) -> pa.Schema:
    vector = pa.list_(pa.float16(), about.dimensions)
    return pa.schema([*(BASE | {"vector": vector} | labels).items()], {KEY: about.model_dump_json()})


def _check_schema(folder: Path, schema: pa.Schema, about: About) -> None:
    kinds = dict(zip(schema.names, schema.types, strict=True))
    wanted = dict(zip((s := _schema(about, {})).names, s.types, strict=True))
    for name, kind in wanted.items():
        if kinds.get(name) != kind:
            raise UsageError(f"{folder} is damaged: its column {name} is {kinds.get(name)}, not {kind}: {AGAIN}")
    if PATCHES in kinds:
        grid_of(schema.field(PATCHES), str(folder), AGAIN)
    others = {name: kind for name, kind in kinds.items() if name not in {*wanted, PATCHES}}
    if len(others) > MOST_LABELS or any(kind not in LABEL_TYPES for kind in others.values()):
        raise UsageError(f"{folder} is damaged: it has columns that openjepa does not write: {AGAIN}")


@contextlib.contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Turn what LanceDB raises for a damaged table into UsageError."""
    try:
        yield
    except UsageError:
        raise
    except BaseException as error:
        raise _in_words(error, f"{folder} is damaged", AGAIN) from error


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Turn what LanceDB raises where a table cannot be written into UsageError."""
    try:
        yield
    except BaseException as error:
        raise _in_words(error, f"cannot write {folder}", "make room, or index the images again") from error


def _in_words(error: BaseException, what: str, to_do: str) -> BaseException:
    """A UsageError for an error of LanceDB or Arrow, also where Rust panicked; any other error as it is."""
    known = isinstance(error, RuntimeError | ValueError | OSError | pa.ArrowException)
    if not (known or type(error).__name__ in PANICS):
        return error
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    return UsageError(f"{what} ({reason}): {to_do}")
