"""`openjepa curate labels INDEX FILE`: a few labels made many."""

from pathlib import Path
from typing import Annotated

import pyarrow as pa
from typer import Argument, Option

from openjepa.commands.arguments.options import MaybeTable, Overwrite
from openjepa.commands.collection.curating import (
    Format,
    In,
    IndexName,
    Link,
    Move,
    Yes,
    check_outputs,
    finish,
    opened,
)
from openjepa.console import log, show_table
from openjepa.data.summary import counted
from openjepa.files.path_arguments import checks_paths
from openjepa.indexing.curation.label_spreading import spread_labels
from openjepa.indexing.label_columns import given_labels

SHOWN = 10


@checks_paths
def curate_labels(
    index: IndexName,
    file: Annotated[Path, Argument(help="Table of labels with a column path.", show_default=False)],
    *,
    data: In = None,
    column: Annotated[
        str | None, Option(help="Its column with the labels; by default the first beside the path.")
    ] = None,
    seed: Annotated[int, Option(help="Of the parts in which labels are held out.")] = 0,
    out: MaybeTable = None,
    format: Format = None,
    move: Move = None,
    link: Link = None,
    yes: Yes = False,
    overwrite: Overwrite = False,
) -> pa.Table:
    """Spread a few labels to all images of an index, with confidences, and find labels that the others contradict.

    Labels spread over the graph of the 15 nearest neighbours. Each given label is held out once in five parts: so the
    accuracy is known, and confidences are fitted. The least confident images are those to label next. --move and --link
    make a folder for each label.

    Returns a table of all images: path, given (label), label, confidence, disagrees (of given labels: whether the
    others say another one). Images without a given label come first, the least confident before others. UsageError.
    """
    check_outputs(out, format, move, link, yes, overwrite)
    images = opened(index, data)
    given = given_labels(images.paths.to_pylist(), Path(file), column)
    spread = spread_labels(images, given, seed)
    rows = spread.table.to_pylist()
    fresh, doubted = [r for r in rows if r["given"] is None], [r for r in rows if r["disagrees"]]
    doubted.sort(key=lambda row: -row["confidence"])
    next_ones = [(r["path"], r["label"], f"{r['confidence']:.2f}") for r in fresh[:SHOWN]]
    show_table(("to label next", "likely", "confidence"), next_ones)
    if doubted:
        cells = [(r["path"], r["given"], r["label"], f"{r['confidence']:.2f}") for r in doubted[:SHOWN]]
        show_table(("given labels to look at", "given", "others say", "confidence"), cells)
    held = "" if spread.accuracy is None else f"; held-out labels: {spread.accuracy:.1%} right"
    log(f"{counted(len(given), 'label')} spread to {counted(len(fresh), 'image')}{held}")
    folders = [_folder(row["label"]) for row in rows]
    return finish(images, spread.table, out, format, [row["path"] for row in rows], folders, move, link, yes)


def _folder(label: str) -> str:
    """A label as the name of a folder."""
    plain = label.replace("/", "_").replace("\\", "_").replace("\0", "_")
    return f"_{plain}" if plain.startswith(".") else plain
