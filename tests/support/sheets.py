"""The cells of a workbook, read from its XML."""

import re
import xml.etree.ElementTree as ElementTree
import zipfile

SHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
KINDS = {"n": float, "b": lambda text: text == "1", "inlineStr": lambda text: _unescaped(text)}


def read_sheet(path):
    """The cells of the first sheet by row, as (type, text); a formula or link fails."""
    with zipfile.ZipFile(path) as book:
        root = ElementTree.fromstring(book.read("xl/worksheets/sheet1.xml"))
    assert root.find(f".//{SHEET}f") is None and root.find(f".//{SHEET}hyperlink") is None
    return [
        [(cell.get("t", "n"), "".join(cell.itertext())) for cell in row]
        for row in root.iterfind(f"{SHEET}sheetData/{SHEET}row")
    ]


def sheet_values(path):
    """The rows of the first sheet as Excel shows them; cells that are empty are left out."""
    return [[KINDS[kind](text) for kind, text in row] for row in read_sheet(path)]


def quoted_texts(path):
    """The texts that stay text when somebody edits their cells."""
    with zipfile.ZipFile(path) as book:
        styles = ElementTree.fromstring(book.read("xl/styles.xml")).find(f"{SHEET}cellXfs")
        root = ElementTree.fromstring(book.read("xl/worksheets/sheet1.xml"))
    quoted = {str(number) for number, style in enumerate(styles) if style.get("quotePrefix") == "1"}
    return ["".join(cell.itertext()) for cell in root.iter(f"{SHEET}c") if cell.get("s") in quoted]


def _unescaped(text):
    return re.sub("_x([0-9A-F]{4})_", lambda found: chr(int(found[1], 16)), text)
