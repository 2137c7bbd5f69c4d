"""`openjepa curate sample INDEX`: few images that stand for all, such as those to label first."""

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
from openjepa.files.path_arguments import checks_paths

SHOWN = 20


@checks_paths
def curate_sample(
    index: IndexName,
    *,
    data: In = None,
    n: Annotated[int, Option(help="How many images.")] = 100,
    by: Annotated[str, Option(help="diverse or typical.")] = "diverse",
    seed: Annotated[int, Option(help="Of the clusters of typical images.")] = 0,
    out: MaybeTable = None,
    format: Format = None,
    move: Move = None,
    link: Link = None,
    yes: Yes = False,
    overwrite: Overwrite = False,
) -> pa.Table:
    """Choose a few images that stand for all, such as those to label first.

    --by diverse takes the most typical image, and then always the one furthest from all that are chosen: odd ones come
    early. --by typical takes the image nearest to the centre of each of N clusters.

    Returns a table: rank, path, cosine (to the nearest chosen before, or to the centre). Raises UsageError.
    """
    check_outputs(out, format, move, link, yes, overwrite)
    images = opened(index, data)
    table = images.sample(n, by=by, seed=seed)
    paths = table["path"].to_pylist()
    log(*paths[:SHOWN], *([f"... and {len(paths) - SHOWN:,} more"] if len(paths) > SHOWN else []))
    log(f"{counted(len(paths), 'image')} of {len(images):,}, {by}")
    return finish(images, table, out, format, paths, None, move, link, yes)
