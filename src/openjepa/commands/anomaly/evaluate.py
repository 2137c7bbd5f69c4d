"""`openjepa anomaly evaluate DETECTOR DATA`: how well a detector tells odd images from normal ones, and where."""

from pathlib import Path
from typing import Annotated

import torch
from torch import Tensor
from typer import Argument, Option

from openjepa.anomaly.evaluate import COLUMNS, evaluate_scores, tables_of
from openjepa.anomaly.labelled import label_images, test_images
from openjepa.commands.anomaly.options import DetectorFolder, Moved, Page
from openjepa.commands.arguments.options import Device, Overwrite, Precision, SkippedFraction, Workers, Xlsx
from openjepa.config import MAX_SKIPPED
from openjepa.console import counting, log, show_parts
from openjepa.data.open import Given, as_source, names_of
from openjepa.data.proportions import seen_lines
from openjepa.data.storage.storage import skipped_lines
from openjepa.device import choose_device, choose_precision
from openjepa.files import check_output, write_output
from openjepa.files.path_arguments import checks_paths
from openjepa.files.tables import write_lists
from openjepa.files.workbook import check_xlsx
from openjepa.reports.anomaly.page import Found, anomaly_page
from openjepa.runs.detectors import check_page, open_detector, score_images, size_lines
from openjepa.runs.images import check_skipped, count_workers, open_images
from openjepa.runs.outputs import write_records


@checks_paths
def anomaly_evaluate(
    detector: DetectorFolder,
    data: Annotated[
        Given, Argument(help="Test images: the layout of MVTec AD, class folders, or a CSV.", show_default=False)
    ],
    *,
    masks: Annotated[
        str | None,
        Option(help="Masks named like the images; left out, ground_truth beside test.", show_default=False),
    ] = None,
    label: Annotated[str | None, Option(help="Column with the kind of each image.", show_default=False)] = None,
    normal: Annotated[
        str | None, Option(help="The kind of normal images; left out, good, normal, ok or 0.", show_default=False)
    ] = None,
    json: Annotated[Path | None, Option(help="File to write the records to.")] = None,
    csv: Annotated[Path | None, Option(help="File to write them to as a table.")] = None,
    xlsx: Xlsx = None,
    page: Page = None,
    model: Moved = None,
    seed: Annotated[int, Option(help="Of the intervals.")] = 0,
    device: Device = "auto",
    precision: Precision = "auto",
    workers: Workers = "auto",
    max_skipped: SkippedFraction = MAX_SKIPPED,
    overwrite: Overwrite = False,
) -> list[dict]:
    """Measure a detector on labelled images: AUROC, AUPR and best F1 of images, AUPRO of regions where masks are known.

    For all defects and each kind, and for each score by itself; with 95 % intervals over test images. Regions are
    measured at the size at which the model sees images. Of a detector with a threshold also the rates of false alarms
    and of anomalous images found.

    Returns a record for each number, with the keys score, kind, metric, value, low and high (fractions). Raises
    UsageError.
    """
    source = test_images(as_source(data))
    for path in filter(None, (json, csv, xlsx)):
        check_output(Path(path), [detector], overwrite, names_of(source))
    check_xlsx(xlsx)
    check_page(page, [detector], overwrite, names_of(source))
    readers = count_workers(workers, device)
    where = choose_device(device)
    fitted, facts = open_detector(Path(detector), model, where, choose_precision(precision, where))
    dataset, summary = open_images(source, fitted.pixel_format, max_skipped)
    labelled = label_images(dataset, masks, label, normal)
    log(*seen_lines(summary.sizes, fitted.frame), *size_lines(summary, facts.size))
    found: list[Tensor] = []
    with counting(f"scoring {source}") as progress:
        scores, kept, bad = score_images(
            fitted, labelled.dataset, readers, progress, lambda _, map_: found.append(map_)
        )
    skipped = summary.skipped + bad
    check_skipped(str(source), skipped, len(kept), max_skipped)
    measured = labelled.subset(kept)
    records = evaluate_scores(fitted, measured, scores, torch.stack(found), seed)
    for head, rows in tables_of(records):
        show_parts(head, rows, title="in %, with 95 % interval")
    log(*skipped_lines(skipped), *labelled.lines())
    if json is not None:
        write_records(Path(json), records)
    write_lists(csv, xlsx, COLUMNS, [[record.get(name, "") for name in COLUMNS] for record in records])
    if page is not None:
        write_output(Path(page), anomaly_page(fitted, Found(measured.dataset, scores, measured), records))
    return records
