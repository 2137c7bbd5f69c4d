"""`openjepa search INDEX IMAGE...`: the images of an index that are most similar to some."""

import json as json_format
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
from typer import Argument, Option

from openjepa.commands.arguments.options import Device, Overwrite, Precision, Workers, Xlsx
from openjepa.console import log, show_table
from openjepa.data.crops import Box
from openjepa.data.open import Given, names_of
from openjepa.errors import UsageError
from openjepa.files import check_output, write_output
from openjepa.files.path_arguments import checks_paths
from openjepa.files.tables import write_lists
from openjepa.files.workbook import check_xlsx
from openjepa.indexing.engines.shards import in_this_process
from openjepa.indexing.index import Index, open_index
from openjepa.indexing.refresh import refreshed
from openjepa.indexing.regions import BOX, Region, in_pixels
from openjepa.reports.collection.search_page import SHOWN, marked, page_title, result_tiles, search_page, tile
from openjepa.runs.images import count_workers

SUFFIXES = {"json": ".json", "csv": ".csv", "html": ".html"}
WHOLE = 0.995  # the fraction of a box from which on it counts as seen
LISTED = 20  # results of a query that are printed


@checks_paths
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
    box: Annotated[
        tuple[float, float, float, float] | None,
        Option(help="Search for what is in a box of IMAGE, in its pixels.", metavar="X0 Y0 X1 Y1", show_default=False),
    ] = None,
    where: Annotated[
        str | None, Option(help="Condition on columns: \"width >= 640 and class = 'cat'\".", show_default=False)
    ] = None,
    top: Annotated[int, Option(help="Results for each image.")] = 20,
    json: Annotated[Path | None, Option(help="File to write the results to as JSON.")] = None,
    csv: Annotated[Path | None, Option(help="File to write them to as a table.")] = None,
    xlsx: Xlsx = None,
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

    --box searches for a part of one image: X0 Y0 is its corner at the left and top, X1 Y1 that at the right and bottom,
    in pixels of the upright image. It needs an index made with --patches. Results rank by how similar their patches are
    to those in the box, with what all patches have in common taken away; with each stands the box of it that is most
    similar. Parts of an image that the model does not see, as it crops, are not compared.

    --where compares columns of the index (docs/collections.md) with numbers, texts and times: =, !=, <, <=, >, >=, in,
    like, between, is null, joined by and, or, not.

    Returns the results, a dict for each with the keys query, rank, path, cosine, percentile and what the index knows
    of the image; with --box x0, y0, x1, y1 in place of percentile. Raises UsageError.
    """
    outputs = {"json": json, "csv": csv, "xlsx": xlsx, "html": html}
    for name, path in outputs.items():
        if path and name in SUFFIXES and Path(path).suffix != SUFFIXES[name]:
            raise UsageError(f"--{name} {path} is not possible: give a name that ends in {SUFFIXES[name]}")
    check_xlsx(xlsx)
    given = [*([images] if isinstance(images, str) else images or [])]
    if box is not None and len(given) != 1:
        raise UsageError("--box is a part of one image: give one IMAGE")
    for path in filter(None, outputs.values()):
        check_output(Path(path), [*given, *(like or []), *(unlike or [])], overwrite, names_of(_named(data)))
    readers = count_workers(workers, device)
    if data is not None:
        how = "auto", device, precision, in_this_process(readers)
        index, model = str(refreshed(None, index, data, None, None, *how, patches=box is not None)), index
    opened = open_index(index, model=model, device=device, precision=precision)
    found: dict[str | None, pa.Table] = {}
    queries: list[str | None] = [*given] if given else [None]
    for query in queries:
        found[query] = opened.search(query, like=like or (), unlike=unlike or (), where=where, top=top, box=box)
    rows = [row for query, table in found.items() for row in _rows(query or " + ".join(like or ()), table)]
    region = None if box is None else opened.region(given[0], box)[1]
    _show(rows, opened, region)
    _write_lists(outputs, rows)
    if path := outputs["html"]:
        write_output(Path(path), _page(opened, found, like or [], where, box, region))
    log(*(f"{name}: {path}" for name, path in outputs.items() if path))
    return rows


def _named(data: Given | None) -> str | None:
    return data if isinstance(data, str) else None


def _rows(query: str, table: pa.Table) -> list[dict[str, Any]]:
    rows = table.to_pylist()
    for row in rows:
        row["captured"] = row["captured"] and row["captured"].isoformat(sep=" ")
    return [{"query": query, "rank": rank, **row} for rank, row in enumerate(rows, 1)]


def _show(rows: Sequence[dict[str, Any]], index: Index, region: Region | None) -> None:
    """Tables of results for the terminal."""
    label = next(iter(index.labels), None)
    head = ["", "cosine", "box" if region else "percentile", "image", *([label] if label else [])]
    for query in dict.fromkeys(row["query"] for row in rows):
        mine = [row for row in rows if row["query"] == query]
        cells = [
            [str(row["rank"]), f"{row['cosine']:z.3f}", _beside(row), row["path"]]
            + ([_text(row[label])] if label else [])
            for row in mine[:LISTED]
        ]
        show_table(head, cells, title=query)
        if len(mine) > LISTED:
            log(f"{len(mine) - LISTED:,} more results: write them with --csv, --xlsx, --json or --html")
    if not rows:
        log(f"no image of {index.folder} was found")
    if region and region.seen < WHOLE:
        log(f"the model sees {100 * region.seen:.0f} % of the box: it reads {in_pixels(region.frame)} of the image")


def _beside(row: dict[str, Any]) -> str:
    """The box of a result, or else its percentile."""
    return in_pixels([row[side] for side in BOX]) if BOX[0] in row else f"{math.floor(10 * row['percentile']) / 10:.1f}"


def _without_nan(row: dict[str, Any]) -> dict[str, Any]:
    """A row with null for numbers that JSON lacks, which labels may be."""
    lacking = {name for name, value in row.items() if isinstance(value, float) and not math.isfinite(value)}
    return row | dict.fromkeys(lacking)


def _text(value: Any) -> str:
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _write_lists(outputs: dict[str, Path | None], rows: list[dict[str, Any]]) -> None:
    if path := outputs["json"]:
        write_output(Path(path), json_format.dumps([_without_nan(row) for row in rows], indent=2) + "\n")
    names = [*rows[0]] if rows else ["query", "rank", "path", "cosine", "percentile"]
    cells = [["" if row[name] is None else row[name] for name in names] for row in rows]
    write_lists(outputs["csv"], outputs["xlsx"], names, cells)


def _page(
    index: Index,
    found: dict[str | None, pa.Table],
    like: Sequence[str],
    where: str | None,
    box: Box | None,
    region: Region | None,
) -> str:
    """The page with the pictures of the results."""
    label, sections = next(iter(index.labels), None), []
    for query, table in found.items():
        name = query or like[0]
        picture = index.picture_of(name)
        if box is not None and region is not None:
            picture = marked(picture, box, region.size)
        pictures = index.pictures_at([index.place_of(one) for one in table["path"].to_pylist()[:SHOWN]])
        sections.append((name, tile(picture, name), result_tiles(table, pictures, label)))
    return search_page(page_title(index.folder), int(index.rows_where(where).sum()), where, sections, box is not None)
