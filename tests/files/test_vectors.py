"""Vectors as Parquet, CSV and Excel: the numbers come back as they were, and no name is a formula."""

import csv
import os
import shutil
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
from support.sheets import read_sheet

import openjepa
from openjepa.errors import UsageError
from openjepa.files import check_output
from openjepa.files.vectors import write_vectors
from openjepa.files.workbook import MOST_COLUMNS

NAMES = ["a/1.png", "=HYPERLINK(1).png", "-2+3.png", 'q"u,o\n.png', "ünï.png"]
VECTORS = np.float32([[0.1, -1e-30], [1 / 3, 3e38], [0, -0.0], [1e-7, 16777217], [2, np.pi]])


def test_parquet(tmp_path):
    write_vectors(tmp_path / "v.parquet", NAMES, VECTORS)
    table = pq.read_table(tmp_path / "v.parquet").to_pydict()
    assert table["path"] == NAMES and np.array_equal(np.float32(table["vector"]), VECTORS)


def test_csv(tmp_path):
    write_vectors(tmp_path / "v.csv", NAMES, VECTORS)
    with (tmp_path / "v.csv").open(newline="", encoding="utf-8") as stream:
        head, *rows = csv.reader(stream)
    assert head == ["path", "vector_0", "vector_1"]
    assert [row[0] for row in rows] == ["a/1.png", "'=HYPERLINK(1).png", "'-2+3.png", 'q"u,o\n.png', "ünï.png"]
    assert np.array_equal(np.float32([row[1:] for row in rows]), VECTORS)


def test_xlsx(tmp_path):
    write_vectors(tmp_path / "v.xlsx", NAMES, VECTORS)
    head, *rows = read_sheet(tmp_path / "v.xlsx")
    assert [text for _, text in head] == ["path", "vector_0", "vector_1"]
    assert [row[0] for row in rows] == [("inlineStr", name) for name in NAMES]
    assert {kind for row in rows for kind, _ in row[1:]} == {"n"}
    assert np.array_equal(np.float32([[text for _, text in row[1:]] for row in rows]), VECTORS)


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".xlsx"])
def test_embed_writes_each_and_replaces_its_own(suffix, photos, tmp_path):
    out = tmp_path / f"vectors{suffix}"
    for _ in range(2):
        assert openjepa.embed("pixels", str(photos), out=out, workers=0) == out
    out.write_bytes(b"mine")
    with pytest.raises(UsageError, match="not an output of openjepa"):
        check_output(out)


def test_what_no_sheet_holds_and_a_missing_library(tmp_path, photos, monkeypatch):
    with pytest.raises(UsageError, match="do not fit an Excel sheet"):
        write_vectors(tmp_path / "v.xlsx", ["a"], np.zeros((1, MOST_COLUMNS), np.float32))
    with pytest.raises(UsageError, match=r"\.csv, \.xlsx or \.parquet"):
        openjepa.embed("pixels", str(photos), out=tmp_path / "v.txt", workers=0)
    monkeypatch.setitem(sys.modules, "xlsxwriter", None)
    with pytest.raises(UsageError, match=r"openjepa\[xlsx\]"):
        openjepa.embed("pixels", str(photos), out=tmp_path / "v.xlsx", workers=0)


def test_names_that_are_not_utf8_are_written_to_each(photos, tmp_path):
    folder = shutil.copytree(photos, tmp_path / "renamed")
    file = next(folder.rglob("*.jpg"))
    os.rename(file, os.fsencode(file.parent) + b"/=\xff.jpg")
    for suffix in (".parquet", ".csv", ".xlsx"):
        openjepa.embed("pixels", str(folder), out=tmp_path / f"v{suffix}", workers=0)
    paths = pq.read_table(tmp_path / "v.parquet")["path"].to_pylist()
    assert f"{file.parent.name}/=\\xff.jpg" in paths
    assert [row[0][1] for row in read_sheet(tmp_path / "v.xlsx")] == ["path", *paths]
