"""`openjepa embed MODEL DATA --out FILE`: one vector for each image."""

from pathlib import Path
from typing import Annotated

from torch import nn
from typer import Argument

from openjepa.commands.arguments.fields import PythonOnly
from openjepa.commands.arguments.options import (
    Crops,
    Data,
    Device,
    Overwrite,
    Pooling,
    Precision,
    SkippedFraction,
    Step,
    TableOut,
    Workers,
)
from openjepa.config import MAX_SKIPPED
from openjepa.console import counting, log
from openjepa.data.open import as_source, names_of
from openjepa.data.proportions import seen_lines
from openjepa.data.storage.storage import files_in, skipped_lines
from openjepa.data.summary import counted
from openjepa.device import choose_device, choose_precision
from openjepa.encoder.cropped import cropped
from openjepa.encoder.features import compute_features, frame_of
from openjepa.files import check_output
from openjepa.files.path_arguments import checks_paths
from openjepa.files.tables import check_table_file
from openjepa.files.vectors import write_vectors
from openjepa.files.workbook import check_fits
from openjepa.runs.checkpoints import open_model_at
from openjepa.runs.images import check_skipped, count_workers, open_images


@checks_paths
def embed(
    model: Annotated[
        str, Argument(help="A run, a model of timm or transformers, pixels or untrained:NAME.", show_default=False)
    ],
    data: Data,
    *,
    out: TableOut,
    step: Step = None,
    pooling: Pooling = "auto",
    crops: Crops = None,
    device: Device = "auto",
    precision: Precision = "auto",
    workers: Workers = "auto",
    max_skipped: SkippedFraction = MAX_SKIPPED,
    overwrite: Overwrite = False,
    network: Annotated[nn.Module | None, PythonOnly()] = None,
) -> Path:
    """Write the embedding of every image.

    A .parquet file has the columns path (text) and vector (a list of float32 numbers, as many as the model is wide);
    .csv and .xlsx have path, vector_0, vector_1 and so on.
    Images that cannot be read are left out, counted and named.

    In Python `network` opens a run that trained an `nn.Module` of a program: one of the same class, which stays as it
    is.

    Returns the file. Raises UsageError.
    """
    model, source, out = str(model), as_source(data), Path(out)
    check_table_file(out)
    check_output(out, [model], overwrite, names_of(source))
    readers = count_workers(workers, device)
    where = choose_device(device)
    encoder = open_model_at(model, step, where, choose_precision(precision, where), pooling, network)
    if crops is not None:
        encoder = cropped(encoder, crops)
    dataset, summary = open_images(source, encoder.pixel_format, max_skipped)
    check_fits(out, len(dataset))
    log(*seen_lines(summary.sizes, frame_of(encoder)))
    with counting(f"embedding {source}") as progress:
        vectors, kept, skipped = compute_features(encoder, dataset, readers, progress=progress)
    check_skipped(str(source), summary.skipped + skipped, len(kept), max_skipped)
    write_vectors(out, [dataset.paths[index] for index in kept], vectors.numpy())
    skipped = summary.skipped + skipped
    log(*skipped_lines(skipped))
    log(f"{len(kept):,} vectors of {vectors.shape[1]} numbers in {out}; {counted(files_in(skipped), 'file')} skipped")
    return out
