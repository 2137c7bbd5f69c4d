"""`openjepa predict HEAD DATA --out FILE`: the class, the count or the distance of each image by a trained head."""

from pathlib import Path
from typing import Annotated

from typer import Argument

from openjepa.commands.arguments.options import Data, Device, Overwrite, Precision, SkippedFraction, TableOut, Workers
from openjepa.config import MAX_SKIPPED
from openjepa.console import counting, log
from openjepa.data.open import as_source, names_of
from openjepa.data.proportions import seen_lines
from openjepa.data.storage.storage import files_in, skipped_lines
from openjepa.data.summary import counted
from openjepa.device import choose_device, choose_precision
from openjepa.encoder.features import compute_features, frame_of
from openjepa.files import check_output
from openjepa.files.path_arguments import checks_paths
from openjepa.files.tables import check_table_file, write_table
from openjepa.files.workbook import check_fits
from openjepa.interop.classifier import Classifier
from openjepa.interop.ensembles.heads import open_head
from openjepa.interop.head_answers import answer_cells
from openjepa.interop.head_tests import result_lines
from openjepa.runs.images import check_skipped, count_workers, open_images


@checks_paths
def predict(
    head: Annotated[
        Path, Argument(help="Folder that finetune, evaluate --save-head or ensemble wrote.", show_default=False)
    ],
    data: Data,
    *,
    out: TableOut,
    device: Device = "auto",
    precision: Precision = "auto",
    workers: Workers = "auto",
    max_skipped: SkippedFraction = MAX_SKIPPED,
    overwrite: Overwrite = False,
) -> Path:
    """Write what a head says of every image.

    Columns path and trained_on: yes for images that the head was trained on, no for others, empty if an older version
    wrote the head. After them a head of classes has prediction, probability, and each class's probability; one of tags
    prediction, the tags that are likelier than not, and each tag's probability; one of quantities a column each, such
    as count, distance or, with --kind, "count of WBC". Lines say how good the head was on its test images, beside
    always giving the same answer, and how many of these images it was trained on. Images that cannot be read are left
    out, counted and named.

    Returns the file. Raises UsageError.
    """
    source, out = as_source(data), Path(out)
    check_table_file(out)
    check_output(out, [head], overwrite, names_of(source))
    readers = count_workers(workers, device)
    where = choose_device(device)
    model = open_head(Path(head), where, choose_precision(precision, where))
    dataset, summary = open_images(source, model.pixel_format, max_skipped)
    check_fits(out, len(dataset))
    log(*seen_lines(summary.sizes, frame_of(model)))
    with counting(f"looking at {source}") as progress:
        answers, kept, skipped = compute_features(model, dataset, readers, progress=progress, compute=model.answers)
    check_skipped(str(source), summary.skipped + skipped, len(kept), max_skipped)
    said, known = answers[:, :-1], answers[:, -1].bool()
    paths = (dataset.paths[index] for index in kept)
    marks = (_known_word(model, bool(one)) for one in known)
    columns, rows = answer_cells(model, said)
    table = ([path, mark, *row] for path, mark, row in zip(paths, marks, rows, strict=True))
    write_table(out, ["path", "trained_on", *columns], table, len(kept))
    skipped = summary.skipped + skipped
    log(*skipped_lines(skipped))
    log(*result_lines(model.test), _known_line(model, int(known.sum())))
    log(f"answers for {counted(len(kept), 'image')} in {out}; {counted(files_in(skipped), 'file')} skipped")
    return out


def _known_word(model: Classifier, known: bool) -> str:
    return {True: "yes", False: "no"}[known] if len(model.trained_on) else ""


def _known_line(model: Classifier, known: int) -> str:
    """How many of the images the head was trained on."""
    if not len(model.trained_on):
        return "whether the head was trained on these images is not known: an older version wrote it"
    line = f"the head was trained on {known:,} of these images"
    return f"warning: {line}: it answers better for them than for others" if known else line
