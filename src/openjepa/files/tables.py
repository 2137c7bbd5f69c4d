"""A table of Arrow in a file for other programs: CSV or Parquet."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from openjepa._version import __version__
from openjepa.errors import UsageError
from openjepa.files.marks import PARQUET_MARK
from openjepa.files.writing import atomic_file, usage_error, write_rows

SUFFIXES = (".csv", ".parquet")
BETWEEN = "|"  # the values of a list in one cell


def check_table_file(path: Path) -> None:
    """Raise UsageError unless a table can be written to a file of this name."""
    if path.suffix not in SUFFIXES:
        raise UsageError(f"{path} is no table: give a name that ends in {' or '.join(SUFFIXES)}")


def write_table(path: Path, table: pa.Table) -> None:
    """Write a table, whole or not at all; in CSV nulls are empty, and lists have | between. Raises UsageError."""
    if path.suffix == ".csv":
        write_rows(path, table.column_names, ([_cell(v) for v in row.values()] for row in table.to_pylist()))
        return
    with usage_error(path), atomic_file(path) as part:
        pq.write_table(table.replace_schema_metadata({PARQUET_MARK: __version__}), part)


def _cell(value: Any) -> Any:
    if isinstance(value, list):
        return BETWEEN.join(map(str, value))
    return "" if value is None else value
