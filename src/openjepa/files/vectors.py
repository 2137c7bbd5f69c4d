"""A vector for each of many names, in a file for other programs: Parquet, CSV or an Excel workbook."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from openjepa._version import __version__
from openjepa.errors import UsageError
from openjepa.files.marks import PARQUET_MARK, XLSX_MARK
from openjepa.files.writing import atomic_file, usage_error, write_rows
from openjepa.optional import require

MOST_ROWS, MOST_COLUMNS, MOST_CHARACTERS = 2**20, 2**14, 32_767  # of an Excel sheet, and of a cell


def check_vectors_file(path: Path) -> None:
    """Raise UsageError unless vectors can be written to a file of this name: its suffix, and the library it takes."""
    if path.suffix not in WRITERS:
        raise UsageError(f"{path} is no table: give a name that ends in {', '.join(WRITERS)}")
    if path.suffix == ".xlsx":
        require("xlsxwriter", "xlsx")


def write_vectors(path: Path, names: Sequence[str], vectors: np.ndarray) -> None:
    """Write names [n] and vectors [n, D] float32 in the format of the path's suffix, whole or not at all.

    .parquet  columns path (string) and vector (float32 list of D)
    .csv      columns path, vector_0 to vector_{D - 1}: numbers with as many digits as give the same float32 again
    .xlsx     the same columns in the first sheet, a bold head that stays in view

    Raises UsageError for a file that cannot be written, and for more rows or columns than an Excel sheet has.
    """
    with usage_error(path):
        WRITERS[path.suffix](path, names, vectors)


def _write_parquet(path: Path, names: Sequence[str], vectors: np.ndarray) -> None:
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    table = pa.table({"path": names, "vector": column}, metadata={PARQUET_MARK: __version__})
    with atomic_file(path) as part:
        pq.write_table(table, part)


def _write_csv(path: Path, names: Sequence[str], vectors: np.ndarray) -> None:
    write_rows(path, _columns(vectors), ([name, *row] for name, row in zip(names, _digits(vectors), strict=True)))


def _write_xlsx(path: Path, names: Sequence[str], vectors: np.ndarray) -> None:
    if len(names) >= MOST_ROWS or vectors.shape[1] >= MOST_COLUMNS:
        raise UsageError(
            f"{len(names):,} vectors of {vectors.shape[1]:,} numbers do not fit an Excel sheet, with {MOST_ROWS:,} "
            f"rows and {MOST_COLUMNS:,} columns: write a .parquet or .csv file"
        )
    with atomic_file(path) as part, part.open("wb") as stream:
        options = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
        book = require("xlsxwriter", "xlsx").Workbook(stream, options)
        book.set_custom_property(XLSX_MARK, __version__)
        sheet, bold = book.add_worksheet("vectors"), book.add_format({"bold": True})
        sheet.freeze_panes(1, 1)
        for column, name in enumerate(_columns(vectors)):
            sheet.write_string(0, column, name, bold)
        for row, (name, numbers) in enumerate(zip(names, _digits(vectors), strict=True), 1):
            sheet.write_string(row, 0, name[:MOST_CHARACTERS])
            for column, number in enumerate(numbers, 1):
                sheet.write_number(row, column, float(number))
        book.close()


def _columns(vectors: np.ndarray) -> list[str]:
    return ["path", *(f"vector_{number}" for number in range(vectors.shape[1]))]


def _digits(vectors: np.ndarray) -> Iterator[list[str]]:
    """Each row of float32 numbers as text, with the fewest digits that give the same numbers again."""
    return (row.astype(str).tolist() for row in vectors)


WRITERS: dict[str, Callable[[Path, Sequence[str], np.ndarray], None]] = {
    ".parquet": _write_parquet,
    ".csv": _write_csv,
    ".xlsx": _write_xlsx,
}
