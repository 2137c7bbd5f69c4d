"""`openjepa curate duplicates INDEX`: copies in groups, with what was done to each."""

from collections import Counter
from typing import Annotated

import pyarrow as pa
from typer import Option

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
from openjepa.indexing.curation.duplicates import KINDS

SHOWN = 30


@checks_paths
def curate_duplicates(
    index: IndexName,
    *,
    data: In = None,
    embedding: Annotated[
        bool, Option("--embedding", help="Also group images that are near by their vectors alone.")
    ] = False,
    out: MaybeTable = None,
    format: Format = None,
    move: Move = None,
    link: Link = None,
    yes: Yes = False,
    overwrite: Overwrite = False,
) -> pa.Table:
    """Group the copies among the images of an index, and say what was done to each.

    Kinds: exact file, same pixels, re-encoded, resized, brightness changed, cropped, flipped or turned; with
    --embedding also near only by embedding. Of each group one image is to keep: the one with the most pixels, of equal
    ones the larger file, then the shorter path. --move and --link take the others. No file is deleted.

    Returns a table: group, path, kind ("keep" of the one to keep), of, cosine, width, height, bytes. Raises UsageError.
    """
    check_outputs(out, format, move, link, yes, overwrite)
    images = opened(index, data)
    table = images.duplicates(embedding=embedding)
    rows = table.to_pylist()
    copies = [row["path"] for row in rows if row["kind"] != "keep"]
    cells = ((str(row["group"]), row["path"], row["kind"], row["of"] or "") for row in rows[:SHOWN])
    if rows:
        show_table(("", "image", "kind", "copy of"), cells)
    counts = Counter(row["kind"] for row in rows)
    told = ", ".join(f"{counts[kind]:,} {kind}" for kind in KINDS if counts[kind])
    groups = counted(len({row["group"] for row in rows}), "group")
    log(f"{groups} of copies among {counted(len(images), 'image')}" + (f": {told}" if told else ""))
    return finish(images, table, out, format, copies, None, move, link, yes)
