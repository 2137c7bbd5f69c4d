"""A table in a file for other programs: CSV, an Excel workbook or Parquet, by the ending of its name."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from openjepa._version import __version__
from openjepa.errors import UsageError
from openjepa.escaping import utf8
from openjepa.files import workbook
from openjepa.files.marks import PARQUET_MARK
from openjepa.files.workbook import check_workbook, write_workbook
from openjepa.files.writing import Number, atomic_file, usage_error, write_rows

SUFFIXES = (".csv", workbook.SUFFIX, ".parquet")
BETWEEN = "|"  # the values of a list in one cell


def check_table_file(path: Path) -> None:
    """Raise UsageError unless a table can be written to a file of this name: its ending, and the library it takes."""
    if path.suffix not in SUFFIXES:
        raise UsageError(f"{path} is no table: give a name that ends in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")
    check_workbook(path)


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence], count: int) -> None:
    """Write `count` rows in the format of the path's ending, whole or not at all.

    A `Number` is written with its digits to CSV, and as a number elsewhere. Raises UsageError.
    """
    if path.suffix == ".csv":
        write_rows(path, columns, rows)
    elif path.suffix == workbook.SUFFIX:
        write_workbook(path, columns, rows, count)
    else:
        write_parquet(path, pa.Table.from_arrays(_arrays(len(columns), rows), [*map(utf8, columns)]))


def write_lists(csv: Path | None, xlsx: Path | None, columns: Sequence[str], rows: Sequence[Sequence]) -> None:
    """Write rows to the files of --csv and --xlsx, where they are given. Raises UsageError."""
    if csv:
        write_rows(Path(csv), columns, rows)
    if xlsx:
        write_workbook(Path(xlsx), columns, rows, len(rows))


def write_arrow(path: Path, table: pa.Table) -> None:
    """Write a table of Arrow; in CSV and Excel nulls are empty, and lists have | between. Raises UsageError."""
    if path.suffix == ".parquet":
        write_parquet(path, table)
    else:
        rows = ([_cell(value) for value in row.values()] for row in table.to_pylist())
        write_table(path, table.column_names, rows, table.num_rows)


def write_parquet(path: Path, table: pa.Table) -> None:
    """Write a table of Arrow as Parquet, with the mark of an output. Raises UsageError."""
    with usage_error(path), atomic_file(path) as part:
        pq.write_table(table.replace_schema_metadata({PARQUET_MARK: __version__}), part)


def _arrays(width: int, rows: Iterable[Sequence]) -> list[pa.Array]:
    columns: list[list[Any]] = [[] for _ in range(width)]
    for row in rows:
        for column, value in zip(columns, row, strict=True):
            column.append(_typed(value))
    return [pa.array(column) if column else pa.array(column, pa.string()) for column in columns]


def _typed(value: Any) -> Any:
    if isinstance(value, Number):
        return float(value)
    return utf8(value) if isinstance(value, str) else value


def _cell(value: Any) -> Any:
    if isinstance(value, list):
        return BETWEEN.join(map(str, value))
    return "" if value is None else value
