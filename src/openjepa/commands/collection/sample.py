"""`openjepa curate sample INDEX`: few images that stand for all, or that are to be labelled next."""

from pathlib import Path
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
from openjepa.console import log
from openjepa.data.summary import counted
from openjepa.errors import UsageError
from openjepa.files.path_arguments import checks_paths
from openjepa.indexing.curation.clusters import UNCERTAIN
from openjepa.indexing.label_columns import given_labels

SHOWN = 20


@checks_paths
def curate_sample(
    index: IndexName,
    *,
    data: In = None,
    n: Annotated[int, Option(help="How many images.")] = 100,
    by: Annotated[str, Option(help="diverse, typical, or uncertain, which needs --labels.")] = "diverse",
    labels: Annotated[
        Path | None, Option(help="Table of the labels so far, with a column path.", show_default=False)
    ] = None,
    column: Annotated[
        str | None, Option(help="Its column with the labels; by default the first beside the path.")
    ] = None,
    seed: Annotated[int, Option(help="Of the clusters of typical images, and of the parts of labels.")] = 0,
    out: MaybeTable = None,
    format: Format = None,
    move: Move = None,
    link: Link = None,
    yes: Yes = False,
    overwrite: Overwrite = False,
) -> pa.Table:
    """Choose a few images that stand for all, such as those to label first.

    --by diverse takes the most typical image, and then always the one furthest from all that are chosen: odd ones come
    early. --by typical takes the image nearest to the centre of each of N clusters. --by uncertain spreads the labels
    of --labels as openjepa curate labels does, and takes images that they leave least certain, far from each other.

    Returns a table: rank, path, cosine (to the nearest chosen before, or to the centre), and with --by uncertain label
    (the likeliest) and confidence. Raises UsageError.
    """
    if (labels is not None) != (by == UNCERTAIN):
        raise UsageError("--by uncertain and --labels FILE go together: give both or neither")
    check_outputs(out, format, move, link, yes, overwrite)
    images = opened(index, data)
    given = None if labels is None else given_labels(images.paths.to_pylist(), Path(labels), column)
    table = images.sample(n, by=by, given=given, seed=seed)
    paths = table["path"].to_pylist()
    log(*paths[:SHOWN], *([f"... and {len(paths) - SHOWN:,} more"] if len(paths) > SHOWN else []))
    log(f"{counted(len(paths), 'image')} of {len(images):,}, {by}")
    return finish(images, table, out, format, paths, None, move, link, yes)
