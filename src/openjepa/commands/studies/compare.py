"""`openjepa compare DATA --out STUDY`: methods on the user's images, under one budget and by one measurement."""

from pathlib import Path
from typing import Annotated, Any

from typer import Option

from openjepa.commands.arguments.options import DataName, Recipe, Settings
from openjepa.console import log
from openjepa.errors import UsageError
from openjepa.files.lock import locked
from openjepa.files.path_arguments import checks_paths
from openjepa.reports.studies.compare_page import write_compare_page
from openjepa.studies.compare.contenders import MEASURES
from openjepa.studies.compare.parts import wanted
from openjepa.studies.compare.start import (
    Complete,
    Request,
    join_comparison,
    plan_lines,
    resume_comparison,
    start_comparison,
)
from openjepa.studies.compare.study import MOMENT, Comparison, lines_of_missing
from openjepa.training.distributed import several_started, use_own_gpu

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
    methods: Annotated[str | None, Option(help="Methods, separated by commas, or all (if left out).")] = None,
    budget: Annotated[
        str | None,
        Option(
            help="Of each run: training time, as 30m, images, as images:500000, or floating-point operations, as "
            "operations:2e15; 10m if left out."
        ),
    ] = None,
    views: Annotated[
        str | None,
        Option(
            help="own: of each method (if left out); same: crops alone, which all methods have; both: once with each."
        ),
    ] = None,
    seeds: Annotated[int | None, Option(help="Runs of each method, which differ by their seed; 3 if left out.")] = None,
    labelled: Annotated[
        str | None, Option(help="Images to measure on, one folder a class, if DATA has no labels.")
    ] = None,
    beside: Annotated[
        list[str] | None, Option(help="A trained model to measure too, as timm:NAME; may be given several times.")
    ] = None,
    tasks: Annotated[
        str | None,
        Option(help=f"Measurements, separated by commas, of {', '.join(MEASURES)}; linear,knn,fewshot if left out."),
    ] = None,
    tune: Annotated[
        int | None,
        Option(
            help="Choose each method's learning rate and one setting of its own by so many short trials first, on "
            "images that nothing is tested on; none if left out."
        ),
    ] = None,
    recipe: Recipe = None,
    resume: Annotated[bool, Option("--resume", help="Resume the study in --out; no run is repeated.")] = False,
    only: Annotated[
        str | None,
        Option(
            help="Train and measure this method alone, or measure this model, into the study in --out; with --seed "
            "one run of it. Other processes may do other parts at the same time."
        ),
    ] = None,
    collect: Annotated[
        bool, Option("--collect", help="Train nothing: write the page and the table from the parts that are there.")
    ] = False,
    **settings: Annotated[Any, SETTINGS],
) -> Path:
    """Compare methods: the same encoder, images, budget and measurement, with several seeds each.

    Each run takes the recipe of its method and is measured by a linear probe, k-NN and few labels on held-out images,
    beside raw pixels and the untrained encoder. Writes trials/NAME/ (run folders), trials.jsonl, compare.json,
    results.json, results.csv and compare.html, which says what can be concluded; the table is printed too.

    Several processes share the work: each takes what nobody has done or is doing, under torchrun or with --only.

    Returns the folder. Raises UsageError.
    """
    given = {name: value for name, value in SETTINGS.given(settings).items() if value is not None}
    seed = given.pop("seed", None) if only is not None else None
    named = None if beside is None else tuple(map(str, [beside] if isinstance(beside, str) else beside))
    asked = Request(
        data=str(data),
        out=Path(out),
        methods=methods,
        budget=budget,
        views=views,
        seeds=seeds,
        labelled=None if labelled is None else str(labelled),
        beside=named,
        tasks=tasks,
        tune=tune,
        recipe=recipe,
        given=given,
    )
    if collect and (resume or only is not None):
        raise UsageError("--collect trains nothing: leave out --only and --resume, or leave out --collect")
    use_own_gpu()
    if collect:
        study, request = resume_comparison(asked)
        study.load()
    else:
        study, request = _opened(asked, resume, only is not None or several_started())
        _run(study, request, only, seed)
    _finish(study, request, collect)
    return study.folder


def _opened(asked: Request, resume: bool, joins: bool) -> tuple[Comparison, Complete]:
    if joins and not resume:
        return join_comparison(asked)
    if not resume:
        with locked(asked.out):
            return start_comparison(asked)
    study, request = resume_comparison(asked)
    log(*plan_lines(study))
    return study, request


def _run(study: Comparison, request: Complete, only: str | None, seed: int | None) -> None:
    try:
        study.run(wanted(study.parts(), study.plans, only, seed))
    except KeyboardInterrupt:
        log(f"stopped; finished runs are kept. Resume with: {request.again}")
        raise


def _finish(study: Comparison, request: Complete, collect: bool) -> None:
    """Write the page once all is there, or what is there so far if that was asked for."""
    missing = [*lines_of_missing(study)]
    log(*missing)
    if missing and not collect:
        log(f"once these are done: {request.command('--collect')}")
        return
    with locked(study.folder, wait=MOMENT):
        write_compare_page(study, request)
