"""A table as an Excel workbook: numbers are numbers, and no text is a formula, a link or more than a cell holds."""

import itertools
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Any

from openjepa._version import __version__
from openjepa.console import log
from openjepa.errors import UsageError
from openjepa.escaping import csv_cell, utf8
from openjepa.files.marks import XLSX_MARK
from openjepa.files.writing import Number, atomic_file, usage_error
from openjepa.optional import require

SUFFIX = ".xlsx"
MOST_ROWS, MOST_COLUMNS, MOST_CHARACTERS = 2**20, 2**14, 32_767  # of an Excel sheet, and of a cell in UTF-16 units
MOST_DIGITS = 10**15  # from which on Excel changes the last digits of a whole number
NARROWEST, WIDEST = 9, 60  # characters of a column
OPTIONS = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False}


def check_workbook(path: Path) -> None:
    """Raise UsageError where `path` is named as a workbook, and the library that writes it is missing."""
    if path.suffix == SUFFIX:
        require("xlsxwriter", "xlsx")


def check_xlsx(path: Path | None) -> None:
    """Raise UsageError unless the file of --xlsx, if one is given, is named as a workbook, and the library is there."""
    if path is None:
        return
    if Path(path).suffix != SUFFIX:
        raise UsageError(f"--xlsx {path} is not possible: give a name that ends in {SUFFIX}")
    require("xlsxwriter", "xlsx")


def check_fits(path: Path, rows: int, columns: int = 1) -> None:
    """Raise UsageError where `path` is named as a workbook, and so many rows below a head are more than it holds."""
    if path.suffix == SUFFIX and (rows >= MOST_ROWS or columns > MOST_COLUMNS):
        raise UsageError(
            f"{rows:,} rows of {columns:,} columns do not fit an Excel sheet, with {MOST_ROWS:,} rows and "
            f"{MOST_COLUMNS:,} columns: write a .csv or .parquet file"
        )


def write_workbook(
    path: Path, columns: Sequence[str], rows: Iterable[Sequence], count: int, sheet: str = "table"
) -> None:
    """Write `count` rows below a bold head that stays in view, whole or not at all.

    Longer texts than a cell holds are cut, and a line says so. Raises UsageError for a file that cannot be written,
    and for more rows or columns than an Excel sheet has.
    """
    check_fits(path, count, len(columns))
    writer = require("xlsxwriter", "xlsx")
    with usage_error(path), atomic_file(path) as part, part.open("wb") as file:
        book = writer.Workbook(_Stream(file), OPTIONS)
        book.set_custom_property(XLSX_MARK, __version__)
        cut = _Sheet(book, sheet).fill(columns, iter(rows))
        try:
            book.close()
        except writer.exceptions.XlsxFileError as error:  # an OSError is in it
            raise OSError(str(error)) from error
    if cut:
        cells = "1 cell" if cut == 1 else f"{cut:,} cells"
        log(f"{cells} of {path} cut to the {MOST_CHARACTERS:,} characters that Excel holds: a .csv file has them all")


class _Stream:
    """What a zip file is written to. Once an error has closed the file, the zip file can still be closed on it."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file

    def write(self, data: bytes) -> int:
        return len(data) if self.file.closed else self.file.write(data)

    def tell(self) -> int:
        return 0 if self.file.closed else self.file.tell()

    def seek(self, offset: int, whence: int = 0) -> int:
        return offset if self.file.closed else self.file.seek(offset, whence)

    def flush(self) -> None:
        if not self.file.closed:
            self.file.flush()


class _Sheet:
    """The sheet of a workbook, which is filled from the top."""

    def __init__(self, book: Any, name: str) -> None:
        self.sheet, self.bold = book.add_worksheet(name), book.add_format({"bold": True})
        self.quoted = book.add_format({"quote_prefix": True})  # stays text when somebody edits it
        self.cut = 0

    def fill(self, columns: Sequence[str], rows: Iterable[Sequence]) -> int:
        """Write everything; returns how many texts were cut."""
        first = next(iter(rows), ())
        self.sheet.freeze_panes(1, int(columns[0] == "path"))
        for column, (name, cell) in enumerate(itertools.zip_longest(columns, first, fillvalue="")):
            self.sheet.set_column(column, column, max(NARROWEST, min(WIDEST, 1 + max(len(name), len(str(cell))))))
        for column, name in enumerate(columns):
            self._text(0, column, name, self.bold)
        for row, cells in enumerate(itertools.chain([first], rows) if first else (), 1):
            for column, cell in enumerate(cells):
                self._cell(row, column, cell)
        return self.cut

    def _cell(self, row: int, column: int, value: Any) -> None:
        if value is None or value == "":
            return
        if isinstance(value, bool):
            self.sheet.write_boolean(row, column, value)
        elif (number := _as_number(value)) is not None:
            self.sheet.write_number(row, column, number)
        else:
            self._text(row, column, str(value))

    def _text(self, row: int, column: int, value: str, look: Any = None) -> None:
        kept = _cut(utf8(value))
        self.cut += len(kept) < len(utf8(value))
        self.sheet.write_string(row, column, kept, look or (self.quoted if csv_cell(kept) != kept else None))


def _as_number(value: Any) -> float | None:
    """A number that a cell can hold; None for text, for what is no finite number, and for whole numbers too long."""
    if isinstance(value, int):
        return float(value) if abs(value) < MOST_DIGITS else None
    if not isinstance(value, (float, Number)):
        return None
    number = float(value)
    return number if math.isfinite(number) else None


def _cut(text: str) -> str:
    """The beginning of a text, as much as a cell holds."""
    if len(text) * 2 <= MOST_CHARACTERS:
        return text
    return text.encode("utf-16-le")[: 2 * MOST_CHARACTERS].decode("utf-16-le", "ignore")
