"""`openjepa search INDEX IMAGE...`: the images of an index that are most similar to some."""

import json as json_format
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
from typer import Argument, Option

from openjepa.commands.arguments.options import Device, Overwrite, Precision, Workers
from openjepa.console import log, show_table
from openjepa.data.open import Given, names_of
from openjepa.errors import UsageError
from openjepa.files import check_output, write_output, write_rows
from openjepa.indexing.index import Index, open_index
from openjepa.indexing.refresh import refreshed
from openjepa.reports.collection.search_page import SHOWN, page_title, result_tiles, search_page, tile
from openjepa.runs.images import count_workers

SUFFIXES = {"json": ".json", "csv": ".csv", "html": ".html"}
LISTED = 20  # results of a query that are printed


def search(
    index: Annotated[str, Argument(help="An index or, with --in, a model.", show_default=False)],
    images: Annotated[
        list[str] | None,
        Argument(help="Image files, or images of the index by the ends of their paths.", show_default=False),
    ] = None,
    *,
    data: Annotated[
        Given | None,
        Option("--in", help="Images to search with the model INDEX, by an index in the cache.", show_default=False),
    ] = None,
    like: Annotated[list[str] | None, Option(help="A further image to be similar to; several may be given.")] = None,
    unlike: Annotated[list[str] | None, Option(help="An image to be unlike; several may be given.")] = None,
    where: Annotated[
        str | None, Option(help="Condition on columns: \"width >= 640 and class = 'cat'\".", show_default=False)
    ] = None,
    top: Annotated[int, Option(help="Results for each image.")] = 20,
    json: Annotated[Path | None, Option(help="File to write the results to as JSON.")] = None,
    csv: Annotated[Path | None, Option(help="File to write them to as a table.")] = None,
    html: Annotated[Path | None, Option(help="Page to write, with thumbnails.")] = None,
    model: Annotated[str | None, Option(help="The model of the index, where it has moved.", show_default=False)] = None,
    device: Device = "auto",
    precision: Precision = "auto",
    workers: Workers = "auto",
    overwrite: Overwrite = False,
) -> list[dict[str, Any]]:
    """Find the images of an index that are most similar to each of IMAGES.

    Every image is compared. Results rank by their cosine to the image and those of --like (the mean), less that to
    those of --unlike. Beside the cosine stands the percentage of all pairs of images of the index that are less
    similar. Images of the index that are asked with are left out of the results.

    --where compares columns of the index (docs/collections.md) with numbers, texts and times: =, !=, <, <=, >, >=, in,
    like, between, is null, joined by and, or, not.

    Returns the results, a dict for each with the keys query, rank, path, cosine, percentile and what the index knows
    of the image. Raises UsageError.
    """
    outputs = {"json": json, "csv": csv, "html": html}
    for name, path in outputs.items():
        if path and Path(path).suffix != SUFFIXES[name]:
            raise UsageError(f"--{name} {path} is not possible: give a name that ends in {SUFFIXES[name]}")
    given = [*([images] if isinstance(images, str) else images or [])]
    for path in filter(None, outputs.values()):
        check_output(Path(path), [*given, *(like or []), *(unlike or [])], overwrite, names_of(_named(data)))
    readers = count_workers(workers, device)
    if data is not None:
        index, model = str(refreshed(None, index, data, device=device, precision=precision, workers=readers)), index
    opened = open_index(index, model=model, device=device, precision=precision)
    found: dict[str | None, pa.Table] = {}
    queries: list[str | None] = [*given] if given else [None]
    for query in queries:
        found[query] = opened.search(query, like=like or (), unlike=unlike or (), where=where, top=top)
    rows = [row for query, table in found.items() for row in _rows(query or " + ".join(like or ()), table)]
    _show(rows, opened)
    _write(outputs, rows, opened, found, like or [], where)
    return rows


def _named(data: Given | None) -> str | None:
    return data if isinstance(data, str) else None


def _rows(query: str, table: pa.Table) -> list[dict[str, Any]]:
    rows = table.to_pylist()
    for row in rows:
        row["captured"] = row["captured"] and row["captured"].isoformat(sep=" ")
    return [{"query": query, "rank": rank, **row} for rank, row in enumerate(rows, 1)]


def _show(rows: Sequence[dict[str, Any]], index: Index) -> None:
    """Tables of results for the terminal."""
    label = next(iter(index.labels), None)
    head = ["", "cosine", "percentile", "image", *([label] if label else [])]
    for query in dict.fromkeys(row["query"] for row in rows):
        mine = [row for row in rows if row["query"] == query]
        cells = [
            [str(row["rank"]), f"{row['cosine']:.3f}", f"{math.floor(10 * row['percentile']) / 10:.1f}", row["path"]]
            + ([_text(row[label])] if label else [])
            for row in mine[:LISTED]
        ]
        show_table(head, cells, title=query)
        if len(mine) > LISTED:
            log(f"{len(mine) - LISTED:,} more results: write them with --csv, --json or --html")
    if not rows:
        log(f"no image of {index.folder} was found")


def _without_nan(row: dict[str, Any]) -> dict[str, Any]:
    """A row with null for numbers that JSON lacks, which labels may be."""
    lacking = {name for name, value in row.items() if isinstance(value, float) and not math.isfinite(value)}
    return row | dict.fromkeys(lacking)


def _text(value: Any) -> str:
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _write(
    outputs: dict[str, Path | None],
    rows: list[dict[str, Any]],
    index: Index,
    found: dict[str | None, pa.Table],
    like: Sequence[str],
    where: str | None,
) -> None:
    if path := outputs["json"]:
        write_output(Path(path), json_format.dumps([_without_nan(row) for row in rows], indent=2) + "\n")
    if path := outputs["csv"]:
        names = [*rows[0]] if rows else ["query", "rank", "path", "cosine", "percentile"]
        write_rows(Path(path), names, (["" if row[name] is None else row[name] for name in names] for row in rows))
    if path := outputs["html"]:
        label, sections = next(iter(index.labels), None), []
        for query, table in found.items():
            name = query or like[0]
            pictures = index.pictures_at([index.place_of(one) for one in table["path"].to_pylist()[:SHOWN]])
            sections.append((name, tile(index.picture_of(name), name), result_tiles(table, pictures, label)))
        searched = int(index.rows_where(where).sum())
        write_output(Path(path), search_page(page_title(index.folder), searched, where, sections))
    log(*(f"{name}: {path}" for name, path in outputs.items() if path))
