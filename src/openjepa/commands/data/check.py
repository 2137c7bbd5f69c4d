"""`openjepa data check SRC [OTHER]`: what is odd about images before anything is trained or tested on them."""

from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from openjepa.commands.arguments.options import Channels, DataName, Overwrite, Pages, Workers
from openjepa.console import log
from openjepa.data.shard_folders import shard_lines
from openjepa.errors import CheckFailed, UsageError
from openjepa.evaluation.image_defects import leaks_between
from openjepa.files import check_output, write_output
from openjepa.files.path_arguments import checks_paths
from openjepa.reports.data_check_findings import findings, show, survey, table_rows, wrong_in
from openjepa.reports.data_check_page import check_page
from openjepa.runs.images import IGNORE_SHARDS, check_choice, count_workers


@checks_paths
def data_check(
    src: DataName,
    other: Annotated[str | None, Argument(help="Test images, to look for in the first.", show_default=False)] = None,
    *,
    out: Annotated[Path, Option(help="Page to write (.html).")] = Path("check.html"),
    strict: Annotated[bool, Option("--strict", help="End with exit code 1 if something is wrong.")] = False,
    labels: Annotated[
        bool, Option("--labels/--no-labels", help="Use the labels of the images, where they have some.")
    ] = True,
    channels: Channels = None,
    pages: Pages = "first",
    workers: Workers = "auto",
    overwrite: Overwrite = False,
) -> dict:
    """Look at every image: sizes, modes, classes, unreadable files, duplicates, leaks from SRC to OTHER, outliers.

    Writes a page with pictures and prints a table. Unreadable files, exact and near duplicates, and images of OTHER
    that are in SRC count as wrong; files that are no images, and images far darker, brighter or of far lower or
    higher contrast than the others, are only shown.

    Returns what was found: for each source `images`, `unreadable`, `exact`, `near` and `odd` by
    paths, and `leaks`, pairs of paths. Raises UsageError, and with `strict` CheckFailed.
    """
    out = Path(out)
    if out.suffix != ".html":
        raise UsageError(f"{out} is not a page: give a name that ends in .html")
    check_choice(channels, pages)
    check_output(out, overwrite=overwrite, data=[src, *([other] if other else [])])
    readers = count_workers(workers)
    first = survey(str(src), readers, channels=channels, pages=pages, labels=labels)
    alike: dict[str, Any] = {"pixel_format": first.dataset.pixel_format, "labels": labels}
    surveys = [first, *([survey(str(other), readers, **alike)] if other else [])]
    leaks = leaks_between(*surveys) if other else []
    wrong, rows = wrong_in(surveys, leaks), table_rows(surveys, leaks)
    title = " and ".join(one.dataset.source for one in surveys)
    write_output(out, check_page(title, wrong, rows, surveys, leaks))
    show(rows)
    log(*(line for one in surveys for line in shard_lines(one.summary.classes, IGNORE_SHARDS)))
    log(*(f"wrong: {sentence}" for sentence in wrong), f"page: {out}")
    if strict and wrong:
        raise CheckFailed(f"{title}: {'; '.join(wrong)}")
    return findings(surveys, leaks)
