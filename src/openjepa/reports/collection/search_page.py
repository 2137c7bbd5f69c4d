"""The page of `openjepa search`: each image that was asked for, beside those most similar to it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from openjepa.encoder.similarity import in_words
from openjepa.indexing.regions import BOX
from openjepa.reports.drawing import CAPTION, PALETTE, Tile, elided, file_name, outline
from openjepa.reports.html import render

SHOWN = 200  # results of a query that have pictures
LINE = 2  # pixels


def tile(picture: np.ndarray, path: str, lines: Sequence[str] = ()) -> Tile:
    """A picture above lines of text and the name of its file."""
    whole = (*lines, file_name(path))
    return Tile(picture, path, tuple((elided(line, CAPTION), line) for line in whole if line))


def result_tiles(found: pa.Table, pictures: Sequence[np.ndarray], label: str | None) -> list[Tile]:
    """Pictures of results, the best first, with cosine and percentile, and a label where the index has one.

    The boxes of results for a region are marked.
    """
    rows = found.to_pylist()[:SHOWN]
    if BOX[0] in found.column_names:
        pictures = [
            marked(picture, [row[side] for side in BOX], (row["width"], row["height"]))
            for picture, row in zip(pictures, rows, strict=True)
        ]
    lines = [[_similarity(row), str(row[label] or "") if label else ""] for row in rows]
    named = zip(pictures, rows, lines, strict=True)
    return [tile(picture, row["path"], [text[0], text[1]]) for picture, row, text in named]


def _similarity(row: dict[str, Any]) -> str:
    return f"{row['cosine']:z.3f}" if "percentile" not in row else in_words(row["cosine"], row["percentile"] / 100)


def marked(picture: np.ndarray, box: Sequence[float], size: tuple[int, int]) -> np.ndarray:
    """A picture [H, W, 3] of an image of `size` (width, height), with a box (left, top, right, bottom) outlined."""
    height, width = picture.shape[:2]
    across, down = width / size[0], height / size[1]
    left, top = min(int(box[0] * across), width - 1), min(int(box[1] * down), height - 1)
    inside = np.zeros((height, width), bool)
    inside[top : max(top + 1, round(box[3] * down)), left : max(left + 1, round(box[2] * across))] = True
    picture = picture.copy()
    picture[outline(inside, LINE)] = PALETTE[0]
    return picture


def search_page(
    title: str,
    searched: int,
    condition: str | None,
    rows: Sequence[tuple[str, Tile, list[Tile]]],
    regions: bool = False,
) -> str:
    """A whole HTML document with a row for each query: its name, its picture, and its results.

    `regions` tells that parts of images were searched for, which are marked.
    """
    return render("search.html", title=title, searched=searched, condition=condition, rows=rows, regions=regions)


def page_title(index: Path) -> str:
    return f"Images like these in {index.name}"
