"""`openjepa index MODEL DATA --out INDEX`: vectors, thumbnails and facts of images in a table that can be updated."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from openjepa.commands.arguments.options import (
    Data,
    Device,
    Pooling,
    Precision,
    SkippedFraction,
    Step,
    Workers,
)
from openjepa.config import MAX_SKIPPED
from openjepa.data.open import as_source, names_of
from openjepa.files import check_outside
from openjepa.files.path_arguments import checks_paths
from openjepa.indexing.open import check_free
from openjepa.indexing.refresh import refreshed
from openjepa.runs.images import count_workers


@checks_paths
def index(
    model: Annotated[
        str, Argument(help="A run, a model of timm or transformers, pixels or untrained:NAME.", show_default=False)
    ],
    data: Data,
    *,
    out: Annotated[
        Path, Option(help="Folder of the index; one that is there is brought up to date.", show_default=False)
    ],
    labels: Annotated[
        Path | None,
        Option(help="Table of labels (.csv, .tsv, .jsonl, .parquet) with a column path.", show_default=False),
    ] = None,
    patches: Annotated[bool, Option("--patches", help="Keep patch tokens too, so that search finds regions.")] = False,
    step: Step = None,
    pooling: Pooling = "auto",
    device: Device = "auto",
    precision: Precision = "auto",
    workers: Workers = "auto",
    max_skipped: SkippedFraction = MAX_SKIPPED,
) -> Path:
    """Make a searchable index of images, or bring one up to date.

    INDEX is a LanceDB table with a row for each image: its vector (float16), a thumbnail (WebP, 96 px), path, folder,
    size, content hash, labels, time of capture (EXIF), brightness, contrast and sharpness. Given again, the command
    adds images that are new, drops those that are gone, embeds those that have changed, and keeps the others. A run
    that is ended goes on where it was. An index takes vectors of one model, and images of one source.

    --patches keeps the patch tokens of each image (8 bits a number), by which openjepa search --box finds regions. An
    index that has none gets them by the same command with --patches, and keeps them from then on.

    Images that cannot be read are left out, counted and named. openjepa search and openjepa curate read the index.

    Returns the folder. Raises UsageError.
    """
    source, out = as_source(data), Path(out)
    readers = count_workers(workers, device)
    check_free(out)
    check_outside(out, names_of(source))
    how = step, pooling, device, precision, readers, max_skipped, patches
    return refreshed(out, str(model), source, labels and Path(labels), *how)
