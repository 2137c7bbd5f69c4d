"""`openjepa curate outliers INDEX`: the images furthest from their neighbours."""

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
from openjepa.indexing.searchable import check_top

SHOWN = 20


@checks_paths
def curate_outliers(
    index: IndexName,
    *,
    data: In = None,
    top: Annotated[int, Option(help="How many images to list.")] = 50,
    out: MaybeTable = None,
    format: Format = None,
    move: Move = None,
    link: Link = None,
    yes: Yes = False,
    overwrite: Overwrite = False,
) -> pa.Table:
    """List the images that lie where the index is thin, the oddest first, with their nearest neighbours.

    The score is the mean distance (1 - cosine) of an image to its 10 nearest others, over the median of such distances
    of these: about 1 in the midst of others. It ranks; from where on an image is odd is for you to see.

    Returns a table: path, score, distance, neighbours (5 paths). Raises UsageError.
    """
    check_top(top)
    check_outputs(out, format, move, link, yes, overwrite)
    images = opened(index, data)
    table = images.outliers(top=top)
    rows = table.to_pylist()
    cells = (
        (row["path"], f"{row['score']:z.2f}", f"{row['distance']:z.4f}", row["neighbours"][0]) for row in rows[:SHOWN]
    )
    show_table(("image", "score", "distance", "nearest"), cells)
    more = f"; the table that --out writes has {len(rows)}" if len(rows) > SHOWN and out is None else ""
    log(f"the {min(SHOWN, len(rows))} oddest of {counted(len(images), 'image')}{more}")
    return finish(images, table, out, format, [row["path"] for row in rows], None, move, link, yes)
