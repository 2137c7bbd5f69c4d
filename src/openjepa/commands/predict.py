"""`openjepa predict HEAD DATA --out FILE.csv`: the class of each image by a trained classifier."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from openjepa.commands.options import Data, Device, Overwrite, Precision, SkippedFraction, Workers
from openjepa.config import MAX_SKIPPED
from openjepa.console import counting, log
from openjepa.data.proportions import seen_lines
from openjepa.data.summary import counted
from openjepa.device import choose_device, choose_precision
from openjepa.encoder.features import compute_features, frame_of
from openjepa.errors import UsageError
from openjepa.files import check_output, write_rows
from openjepa.interop.classifier import load_classifier
from openjepa.runs.images import check_skipped, check_workers, open_images


def predict(
    head: Annotated[Path, Argument(help="Folder that evaluate --save-head wrote.", show_default=False)],
    data: Data,
    *,
    out: Annotated[Path, Option(help="CSV file to write.", show_default=False)],
    device: Device = "auto",
    precision: Precision = "auto",
    workers: Workers = 2,
    max_skipped: SkippedFraction = MAX_SKIPPED,
    overwrite: Overwrite = False,
) -> Path:
    """Write the class of every image: columns path, prediction, probability, and each class's probability.

    Images that cannot be read are left out, counted and named.

    Returns the file. Raises UsageError.
    """
    data, out = str(data), Path(out)
    if out.suffix != ".csv":
        raise UsageError(f"{out} is not a CSV file: give a name that ends in .csv")
    check_output(out, [head], overwrite, [data])
    check_workers(workers)
    where = choose_device(device)
    classifier = load_classifier(Path(head), where, choose_precision(precision, where))
    dataset, summary = open_images(data, classifier.pixel_format, max_skipped)
    log(*seen_lines(summary.sizes, frame_of(classifier)))
    with counting(f"classifying {data}") as progress:
        probabilities, kept, skipped = compute_features(classifier, dataset, workers, progress=progress)
    check_skipped(data, summary.skipped + skipped, len(kept), max_skipped)
    names = classifier.classes
    columns = ["path", "prediction", "probability", *(f"probability of {name}" for name in names)]
    rows = (
        [dataset.paths[index], names[int(row.argmax())], *(f"{p:.6f}" for p in [row.max(), *row])]
        for index, row in zip(kept, probabilities, strict=True)
    )
    write_rows(out, columns, rows)
    skipped = summary.skipped + skipped
    log(*(f"skipped {path}: {reason}" for path, reason in skipped[:10]))
    log(f"{len(kept):,} images classified in {out}; {counted(len(skipped), 'file')} skipped")
    return out
