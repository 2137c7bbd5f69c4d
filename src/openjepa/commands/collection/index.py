"""`openjepa index MODEL DATA --out INDEX`: vectors, thumbnails and facts of images in a table that can be updated."""

import os
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
from openjepa.device import choose_device
from openjepa.errors import UsageError, unknown
from openjepa.files import check_outside
from openjepa.files.path_arguments import checks_paths
from openjepa.indexing.engines.ray_data import Opening, on_ray
from openjepa.indexing.engines.shards import in_this_process
from openjepa.indexing.open import check_free, lasting
from openjepa.indexing.refresh import refreshed
from openjepa.optional import require
from openjepa.runs.images import count_workers
from openjepa.training.distributed import joined

ENGINES = ("local", "ray")


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
    engine: Annotated[
        str, Option(help="local, or ray: a Ray Data job, on the cluster at RAY_ADDRESS or on this machine.")
    ] = "local",
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

    Under torchrun the processes share the images out and write one index. --engine ray does so with the workers of a
    Ray cluster, at most --workers of them, that see model and images under the same names; auto is one for each GPU
    or, without GPUs, each core.

    Returns the folder. Raises UsageError.
    """
    source, out = as_source(data), Path(out)
    readers = count_workers(workers, device)
    check_engine(engine, readers)
    check_free(out)
    check_outside(out, names_of(source))
    opening = Opening(lasting(str(model)), step, pooling, device, precision)
    where = on_ray(opening, None if workers == "auto" else readers) if engine == "ray" else in_this_process(readers)
    how = step, pooling, device, precision, where, max_skipped, patches
    with joined(choose_device(device)):
        return refreshed(out, str(model), source, labels and Path(labels), *how)


def check_engine(engine: str, workers: int) -> None:
    """Raise UsageError for an engine that is not known, or that cannot be used here."""
    if engine not in ENGINES:
        raise UsageError(unknown("--engine", engine, ENGINES))
    if engine == "local":
        return
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise UsageError("--engine ray and torchrun both share images out: use one of them")
    if workers == 0:
        raise UsageError("--engine ray needs workers: give --workers 1 or more, or auto")
    require("ray", "ray")
