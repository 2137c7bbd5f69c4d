"""`openjepa anomaly score DETECTOR DATA --out FILE`: how odd each image is, and where."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from torch import Tensor
from typer import Option

from openjepa.anomaly.detector import Detector
from openjepa.commands.anomaly.options import DetectorFolder, Moved, Page
from openjepa.commands.arguments.options import Data, Device, Overwrite, Precision, SkippedFraction, TableOut, Workers
from openjepa.config import MAX_SKIPPED
from openjepa.console import counting, log
from openjepa.data.open import as_source, names_of
from openjepa.data.proportions import seen_lines
from openjepa.data.storage.storage import files_in, skipped_lines
from openjepa.data.summary import counted
from openjepa.device import choose_device, choose_precision
from openjepa.files import check_output, check_outside, write_output
from openjepa.files.path_arguments import checks_paths
from openjepa.files.tables import check_table_file, write_table
from openjepa.files.workbook import check_fits
from openjepa.files.writing import Number
from openjepa.reports.anomaly.page import Found, anomaly_page
from openjepa.reports.anomaly.pictures import MapWriter
from openjepa.runs.detectors import check_page, open_detector, score_images, size_lines
from openjepa.runs.images import check_new_folder, check_skipped, count_workers, open_images


@checks_paths
def anomaly_score(
    detector: DetectorFolder,
    data: Data,
    *,
    out: TableOut,
    maps: Annotated[
        Path | None, Option(help="New folder for a picture of each image that shows where it is odd.")
    ] = None,
    page: Page = None,
    model: Moved = None,
    device: Device = "auto",
    precision: Precision = "auto",
    workers: Workers = "auto",
    max_skipped: SkippedFraction = MAX_SKIPPED,
    overwrite: Overwrite = False,
) -> Path:
    """Write how odd every image is, the oddest first.

    Columns path and score, in standard deviations above the mean of normal images; of a detector with a threshold
    anomalous (yes or no) and p_value, the part of normal images that score as high; then each score by itself, in its
    own units. Images that cannot be read are left out, counted and named.

    Returns the file. Raises UsageError.
    """
    source, out = as_source(data), Path(out)
    check_table_file(out)
    check_output(out, [detector], overwrite, names_of(source))
    check_page(page, [detector], overwrite, names_of(source))
    if maps is not None:
        check_outside(Path(maps), names_of(source))
        check_new_folder(Path(maps), "give --maps another name")
    readers = count_workers(workers, device)
    where = choose_device(device)
    fitted, facts = open_detector(Path(detector), model, where, choose_precision(precision, where))
    dataset, summary = open_images(source, fitted.pixel_format, max_skipped)
    check_fits(out, len(dataset))
    log(*seen_lines(summary.sizes, fitted.frame), *size_lines(summary, facts.size))
    draw = MapWriter(Path(maps), fitted, dataset) if maps is not None else None
    with counting(f"scoring {source}") as progress:
        scores, kept, bad = score_images(fitted, dataset, readers, progress, draw)
    skipped = summary.skipped + bad
    check_skipped(str(source), skipped, len(kept), max_skipped)
    rows = rows_of(fitted, [dataset.paths[index] for index in kept], scores)
    write_table(out, columns_of(fitted), rows, len(kept))
    if page is not None:
        write_output(Path(page), anomaly_page(fitted, Found(dataset.subset(kept), scores)))
    log(*skipped_lines(skipped), *found_lines(fitted, scores))
    log(f"scores of {counted(len(kept), 'image')} in {out}; {counted(files_in(skipped), 'file')} skipped")
    return out


def columns_of(detector: Detector) -> list[str]:
    known = ["anomalous", "p_value"] if detector.calibration.threshold else []
    return ["path", "score", *known, *detector.names[1:]]


def rows_of(detector: Detector, paths: Sequence[str], scores: Tensor) -> Iterator[list[str]]:
    """A row for each image, by falling score."""
    numbers, threshold = scores.double().numpy(), detector.calibration.threshold
    chances = detector.calibration.p_values(numbers[:, 0]) if threshold else np.zeros(0)
    for place in np.argsort(-numbers[:, 0], kind="stable"):
        score, *others = numbers[place]
        known = ["yes" if score > threshold.value else "no", Number(f"{chances[place]:.4g}")] if threshold else []
        yield [paths[place], Number(f"{score:z.5g}"), *known, *(Number(f"{value:z.5g}") for value in others)]


def found_lines(detector: Detector, scores: Tensor) -> list[str]:
    """How many images exceed the threshold, if there is one."""
    threshold = detector.calibration.threshold
    if not threshold:
        return ["this detector has no threshold: fit it with --false-alarms for one"]
    above = int((scores[:, 0].double() > threshold.value).sum())
    return [f"{above:,} of {len(scores):,} images are anomalous at a false-alarm rate of {100 * threshold.rate:g}%"]
