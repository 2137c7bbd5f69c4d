"""`openjepa compare DATA --out STUDY`: methods on the user's images, under one budget and by one measurement."""

from pathlib import Path
from typing import Annotated, Any

from typer import Option

from openjepa.commands.arguments.options import DataName, Recipe, Settings
from openjepa.console import log
from openjepa.files.lock import locked
from openjepa.files.path_arguments import checks_paths
from openjepa.reports.studies.compare_page import write_compare_page
from openjepa.studies.compare.start import Request, resume_comparison, start_comparison

SETTINGS = Settings(
    (
        *("model", "image_size", "patch_size", "max_stretch", "channels", "pages", "any_orientation", "optimizer"),
        "batch_size",
        *("seed", "device", "precision", "workers", "max_skipped"),
    )
)  # what all methods share


@checks_paths
def compare(
    data: DataName,
    *,
    out: Annotated[Path, Option(help="Folder to write the study to.", show_default=False)],
    methods: Annotated[str, Option(help="Methods, separated by commas, or all.")] = "all",
    budget: Annotated[str, Option(help="Of each run: training time, as 30m, or images, as images:500000.")] = "10m",
    views: Annotated[
        str, Option(help="own: of each method; same: crops alone, which all methods have; both: once with each.")
    ] = "own",
    seeds: Annotated[int, Option(help="Runs of each method, which differ by their seed.")] = 3,
    labelled: Annotated[
        str | None, Option(help="Images to measure on, one folder a class, if DATA has no labels.")
    ] = None,
    beside: Annotated[
        list[str] | None, Option(help="A trained model to measure too, as timm:NAME; may be given several times.")
    ] = None,
    recipe: Recipe = None,
    resume: Annotated[bool, Option("--resume", help="Resume the study in --out; no run is repeated.")] = False,
    **settings: Annotated[Any, SETTINGS],
) -> Path:
    """Compare methods: the same encoder, images, budget and measurement, with several seeds each.

    Each run takes the recipe of its method and is measured by a linear probe, k-NN and few labels on held-out images,
    beside raw pixels and the untrained encoder. Writes trials/NAME/ (run folders), trials.jsonl, compare.json,
    results.json, results.csv and compare.html, which says what can be concluded; the table is printed too.

    Returns the folder. Raises UsageError.
    """
    given = {name: value for name, value in SETTINGS.given(settings).items() if value is not None}
    named = tuple(map(str, [beside] if isinstance(beside, str) else beside or ()))
    labels = None if labelled is None else str(labelled)
    options = str(methods), str(budget), views, seeds, labels, named
    asked = Request(str(data), Path(out), *options, recipe, given)
    with locked(asked.out):
        study, request = resume_comparison(asked) if resume else start_comparison(asked)
        try:
            study.run()
        except KeyboardInterrupt:
            log(f"stopped; finished runs are kept. Resume with: {request.again}")
            raise
        write_compare_page(study, request)
    return study.folder
