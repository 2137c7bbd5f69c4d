"""`openjepa report RUN`: one page that says what was trained, on which images, and with which results."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from openjepa.console import log
from openjepa.reports.run_page import write_run_page
from openjepa.runs.folder import read_run_folder


def report(
    run: Annotated[Path, Argument(help="Folder that openjepa pretrain or demo wrote.", show_default=False)],
    *,
    data: Annotated[str | None, Option(help="Images to show, if those of the run have moved.")] = None,
) -> Path:
    """Write RUN/report.html: one file that needs no network, with results, curves, masks, patch maps and neighbours.

    Without the images the page has no pictures; of an unfinished run it shows what there is.

    Returns the page. Raises UsageError if the folder is no run, or --data names no images.
    """
    page = write_run_page(read_run_folder(Path(run)), data)
    log(f"report: {page}")
    return page
