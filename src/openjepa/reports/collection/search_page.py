"""The page of `openjepa search`: each image that was asked for, beside those most similar to it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from openjepa.encoder.similarity import in_words
from openjepa.reports.drawing import CAPTION, Tile, elided, file_name
from openjepa.reports.html import render

SHOWN = 200  # results of a query that have pictures


def tile(picture: np.ndarray, path: str, lines: Sequence[str] = ()) -> Tile:
    """A picture above lines of text and the name of its file."""
    whole = (*lines, file_name(path))
    return Tile(picture, path, tuple((elided(line, CAPTION), line) for line in whole if line))


def result_tiles(found: pa.Table, pictures: Sequence[np.ndarray], label: str | None) -> list[Tile]:
    """Pictures of results, the best first, with cosine and percentile, and a label where the index has one."""
    rows = found.to_pylist()[:SHOWN]
    lines = [[in_words(row["cosine"], row["percentile"] / 100), str(row[label] or "") if label else ""] for row in rows]
    named = zip(pictures, rows, lines, strict=True)
    return [tile(picture, row["path"], [text[0], text[1]]) for picture, row, text in named]


def search_page(title: str, searched: int, condition: str | None, rows: Sequence[tuple[str, Tile, list[Tile]]]) -> str:
    """A whole HTML document with a row for each query: its name, its picture, and its results."""
    return render("search.html", title=title, searched=searched, condition=condition, rows=rows)


def page_title(index: Path) -> str:
    return f"Images like these in {index.name}"
