"""`openjepa tune DATA --out STUDY`: which settings suit the user's images, by short runs and successive halving."""

from pathlib import Path
from typing import Annotated, Any

from typer import Option

from openjepa.commands.arguments.options import DataName, Recipe, Settings
from openjepa.config import FIELDS, LENGTH
from openjepa.console import log
from openjepa.files.lock import locked
from openjepa.files.path_arguments import checks_paths
from openjepa.reports.studies.tune_page import write_tune_page
from openjepa.studies.tune.start import Request, resume_study, start_study

SETTINGS = Settings(
    tuple(name for name in FIELDS if name not in (*LENGTH, "labels", "teacher"))
)  # the budget decides the length, and accuracy the settings


@checks_paths
def tune(
    data: DataName,
    *,
    out: Annotated[Path, Option(help="Folder to write the study to.", show_default=False)],
    budget: Annotated[str, Option(help="Time for the whole study, as 30m or 2h.")] = "1h",
    labelled: Annotated[
        str | None, Option(help="Images to choose by, one folder a class, if DATA has no labels.")
    ] = None,
    recipe: Recipe = None,
    resume: Annotated[bool, Option("--resume", help="Resume the study in --out; no trial runs twice.")] = False,
    **settings: Annotated[Any, SETTINGS],
) -> Path:
    """Find settings for images: short runs, of which the best third is repeated three times as long.

    Settings that are given stay as they are; the others are changed one at a time, then the best together. Trials are
    chosen by linear accuracy, so some images need labels: DATA's own, or --labelled. Writes trials/NAME/ (run
    folders), trials.jsonl, tune.json and tune.html, with the command for the winner.

    Returns the folder. Raises UsageError.
    """
    given = {name: value for name, value in SETTINGS.given(settings).items() if value is not None}
    labels = None if labelled is None else str(labelled)
    asked = Request(str(data), Path(out), str(budget), labels, recipe, given)
    with locked(asked.out):
        study, request = resume_study(asked) if resume else start_study(asked)
        try:
            study.run()
        except KeyboardInterrupt:
            log(f"stopped; finished trials are kept. Resume with: {asked.again}")
            raise
        write_tune_page(study, request)
    return study.folder
