"""Tables as CSV, Excel and Parquet: numbers come back, and texts of strangers are no more than text."""

import csv
import math
import resource
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.sheets import quoted_texts, read_sheet, sheet_values

from openjepa.errors import UsageError
from openjepa.files import check_output
from openjepa.files.tables import check_table_file, write_arrow, write_table
from openjepa.files.workbook import MOST_CHARACTERS, MOST_COLUMNS, MOST_ROWS, check_fits, write_workbook
from openjepa.files.writing import Number

COLUMNS = ["path", "known", "score", "bytes", "note"]
ROWS = [["a.png", True, Number("0.50"), 7, "007"], ["b.png", False, Number("-1e-07"), 12345678901234567, ""]]
NAMES = [
    "=HYPERLINK(1).png",
    "@SUM(A1).png",
    "\t=1.png",
    "＝1+1.png",
    "http://x.example/a.png",
    "a\x1b[31m\x00\x0bb.png",
    "_x0041_.png",
    "<b>&amp;.png",
    "line\nbreak\r.png",
    "\u202egnp.exe",
    "\ufffe.png",
    "\udcff.png",  # a byte that is not UTF-8
    "😀" * 20_000,
    "1.5",
    "TRUE",
]


def test_each_format_has_the_same_values(tmp_path):
    for name in ("t.csv", "t.xlsx", "t.parquet"):
        check_table_file(tmp_path / name)
        write_table(tmp_path / name, COLUMNS, ROWS, len(ROWS))
    check_output(tmp_path / "t.xlsx")  # may be replaced
    check_output(tmp_path / "t.parquet")
    head, *rows = csv.reader((tmp_path / "t.csv").open())
    assert head == COLUMNS and rows[0] == ["a.png", "True", "0.50", "7", "007"]
    head, *rows = sheet_values(tmp_path / "t.xlsx")
    assert head == COLUMNS
    assert rows == [["a.png", True, 0.5, 7.0, "007"], ["b.png", False, -1e-07, "12345678901234567"]]
    table = pq.read_table(tmp_path / "t.parquet")
    assert table.schema.types == [pa.string(), pa.bool_(), pa.float64(), pa.int64(), pa.string()]
    assert [[*row.values()] for row in table.to_pylist()] == [[*map(_plain, row)] for row in ROWS]


def _plain(value):
    return float(value) if isinstance(value, Number) else value


def test_texts_of_strangers_are_text_in_a_workbook(tmp_path, capsys):
    write_table(tmp_path / "t.xlsx", ["path"], [[name] for name in NAMES], len(NAMES))
    rows = read_sheet(tmp_path / "t.xlsx")
    assert {kind for row in rows for kind, _ in row} == {"inlineStr"}
    shown = [text for _, (text,) in zip(rows, sheet_values(tmp_path / "t.xlsx")[1:], strict=False)]
    expected = [*NAMES]
    expected[NAMES.index("\udcff.png")] = "\\udcff.png"
    long = NAMES.index("😀" * 20_000)
    assert shown[:long] + shown[long + 1 :] == expected[:long] + expected[long + 1 :]
    assert shown[long] == "😀" * (MOST_CHARACTERS // 2)
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith("1 cell of") and "cut to the 32,767 characters" in said
    assert quoted_texts(tmp_path / "t.xlsx") == [NAMES[0], NAMES[1], NAMES[2], NAMES[3]]


def test_a_name_that_is_not_utf8_is_spelled_alike_everywhere(tmp_path):
    for suffix in (".csv", ".xlsx", ".parquet"):
        write_table(tmp_path / f"t{suffix}", ["path"], [["\udcff.png"]], 1)
    assert (tmp_path / "t.csv").read_text() == "path\n\\udcff.png\n"
    assert sheet_values(tmp_path / "t.xlsx") == [["path"], ["\\udcff.png"]]
    assert pq.read_table(tmp_path / "t.parquet").to_pylist() == [{"path": "\\udcff.png"}]


def test_numbers_that_excel_lacks_are_text(tmp_path):
    write_workbook(tmp_path / "t.xlsx", ["a"], [[math.nan], [Number("inf")], [-math.inf], [None], [1.0]], 5)
    assert sheet_values(tmp_path / "t.xlsx") == [["a"], ["nan"], ["inf"], ["-inf"], [1.0]]


def test_lists_and_nulls_of_arrow(tmp_path):
    table = pa.table({"path": ["a", "b"], "of": [["c", "d"], []], "cosine": [None, 0.5]})
    write_arrow(tmp_path / "t.xlsx", table)
    write_arrow(tmp_path / "t.parquet", table)
    assert sheet_values(tmp_path / "t.xlsx") == [["path", "of", "cosine"], ["a", "c|d"], ["b", 0.5]]
    assert pq.read_table(tmp_path / "t.parquet").equals(table)
    write_arrow(tmp_path / "none.xlsx", table.slice(0, 0))
    assert sheet_values(tmp_path / "none.xlsx") == [["path", "of", "cosine"]]


def test_what_does_not_fit_is_refused_before_it_is_written(tmp_path, monkeypatch):
    check_fits(tmp_path / "t.xlsx", MOST_ROWS - 1, MOST_COLUMNS)
    check_fits(tmp_path / "t.csv", MOST_ROWS)
    for rows, columns in ((MOST_ROWS, 1), (1, MOST_COLUMNS + 1)):
        with pytest.raises(UsageError, match="do not fit an Excel sheet"):
            write_table(tmp_path / "t.xlsx", ["a"] * columns, [], rows)
    with pytest.raises(UsageError, match=r"t\.txt is no table: give a name that ends in \.csv, \.xlsx or \.parquet"):
        check_table_file(tmp_path / "t.txt")
    monkeypatch.setitem(sys.modules, "xlsxwriter", None)
    with pytest.raises(UsageError, match=r"openjepa\[xlsx\]"):
        check_table_file(tmp_path / "t.xlsx")
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("most", [0, 1000])
def test_a_workbook_that_cannot_be_written_leaves_the_old_one(tmp_path, most):
    write_workbook(tmp_path / "t.xlsx", ["a"], [["old"]], 1)
    before, limits = (tmp_path / "t.xlsx").read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, limits[1]))
    try:
        with pytest.raises(UsageError, match=r"cannot write .*t\.xlsx"):
            write_workbook(tmp_path / "t.xlsx", ["a"], [["new"]], 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (tmp_path / "t.xlsx").read_bytes() == before and [*tmp_path.iterdir()] == [tmp_path / "t.xlsx"]
