"""`openjepa curate clusters INDEX`: groups of similar images, with typical ones."""

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


@checks_paths
def curate_clusters(
    index: IndexName,
    *,
    data: In = None,
    count: Annotated[
        int | None, Option(help="How many; by default the square root of half the images, up to 50.")
    ] = None,
    seed: Annotated[int, Option(help="Of the first centres.")] = 0,
    out: MaybeTable = None,
    format: Format = None,
    move: Move = None,
    link: Link = None,
    yes: Yes = False,
    overwrite: Overwrite = False,
) -> pa.Table:
    """Divide the images of an index into clusters by k-means, and show the size and the most typical image of each.

    --move and --link make a folder for each cluster.

    Returns a table of all images: cluster (1 is the largest), path, cosine (to the centre), size, nearest (cluster);
    of each cluster the typical images come first. Raises UsageError.
    """
    check_outputs(out, format, move, link, yes, overwrite)
    images = opened(index, data)
    table = images.clusters(count=count, seed=seed)
    rows = table.to_pylist()
    first = {row["cluster"]: row for row in reversed(rows)}
    cells = (
        (str(n), f"{r['size']:,}", r["path"], f"{r['cosine']:z.3f}", str(r["nearest"]))
        for n, r in sorted(first.items())
    )
    show_table(("cluster", "images", "typical image", "cosine", "nearest cluster"), cells)
    log(f"{counted(len(first), 'cluster')} of {counted(len(images), 'image')}")
    folders = [f"cluster-{row['cluster']:03}" for row in rows]
    return finish(images, table, out, format, [row["path"] for row in rows], folders, move, link, yes)
