"""`openjepa embed MODEL DATA --out FILE.parquet`: one vector for each image."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from openjepa.arrow import write_vectors
from openjepa.commands.options import Data, Device, Overwrite, Precision, SkippedFraction, Workers
from openjepa.config import MAX_SKIPPED
from openjepa.console import counting, log
from openjepa.data.summary import counted
from openjepa.device import choose_device, choose_precision
from openjepa.encoder.features import compute_features
from openjepa.errors import UsageError
from openjepa.files import check_output
from openjepa.interop.open_model import open_model
from openjepa.runs.images import check_skipped, check_workers, open_images


def embed(
    model: Annotated[str, Argument(help="A run, whatever import takes, pixels or untrained:NAME.", show_default=False)],
    data: Data,
    *,
    out: Annotated[Path, Option(help="Parquet file to write.", show_default=False)],
    device: Device = "auto",
    precision: Precision = "auto",
    workers: Workers = 2,
    max_skipped: SkippedFraction = MAX_SKIPPED,
    overwrite: Overwrite = False,
) -> Path:
    """Write the embedding of every image: columns path (text) and vector (float32 list of the model's width).

    Images that cannot be read are left out, counted and named.

    Returns the file. Raises UsageError.
    """
    model, data, out = str(model), str(data), Path(out)
    if out.suffix != ".parquet":
        raise UsageError(f"{out} is not a Parquet file: give a name that ends in .parquet")
    check_output(out, [model], overwrite, [data])
    check_workers(workers)
    where = choose_device(device)
    encoder = open_model(model, where, choose_precision(precision, where))
    dataset, summary = open_images(data, encoder.pixel_format, max_skipped)
    with counting(f"embedding {data}") as progress:
        vectors, kept, skipped = compute_features(encoder, dataset, workers, progress=progress)
    check_skipped(data, summary.skipped + skipped, len(kept), max_skipped)
    write_vectors(out, [dataset.paths[index] for index in kept], vectors.numpy())
    skipped = summary.skipped + skipped
    log(*(f"skipped {path}: {reason}" for path, reason in skipped[:10]))
    log(f"{len(kept):,} vectors of {vectors.shape[1]} numbers in {out}; {counted(len(skipped), 'file')} skipped")
    return out
