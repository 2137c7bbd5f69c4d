"""`openjepa report RUN`: one page that says what was trained, on which images, and with which results."""

from pathlib import Path
from typing import Annotated

from torch import nn
from typer import Argument, Option

from openjepa.commands.arguments.fields import PythonOnly
from openjepa.commands.arguments.options import Device, Step
from openjepa.console import log
from openjepa.data.open import DataSource, Given, as_source
from openjepa.errors import UsageError
from openjepa.files.path_arguments import checks_paths
from openjepa.runs.folder import read_run_folder


@checks_paths
def report(
    run: Annotated[Path, Argument(help="Folder that openjepa pretrain or demo wrote.", show_default=False)],
    *,
    data: Annotated[Given | None, Option(help="The images of the run, or others, to show.")] = None,
    step: Step = None,
    device: Device = "auto",
    show: Annotated[
        list[str] | None,
        Option(help="Image whose neighbours to show, by its path in the data or the end of it; may be repeated."),
    ] = None,
    network: Annotated[nn.Module | None, PythonOnly()] = None,
) -> Path:
    """Write RUN/report.html: one file that needs no network, with results, curves, masks, patch maps and neighbours.

    With --step it is RUN/report-step-NUMBER.html, of the run up to that step and its encoder then.

    Neighbours are shown of the images that --show names, else of six. Without the images the page has no pictures; of
    an unfinished run it shows what there is.

    In Python `network` shows the encoder of a run that trained an `nn.Module` of a program: one of the same class,
    which stays as it is.

    Returns the page. Raises UsageError if the folder is no run, --data names no images, or --show no image of them.
    """
    from openjepa.reports.run_page import write_run_page  # takes a second, which a run needs at its end alone

    images = None if data is None else as_source(data)
    return write_run_page(read_run_folder(Path(run), str(device), step, network), images, [*(show or [])])


def report_at_end(run: Path, data: DataSource, network: nn.Module | None = None, device: str = "auto") -> Path:
    """The report of a run that has ended. Where its images cannot be read, it has no pictures, and a line says why."""
    try:
        return report(run, data=data, network=network, device=device)
    except UsageError as error:
        log(f"the report is made without pictures: {error}")
    return report(run, network=network, device=device)
