"""The page of a comparison: what follows, results and costs, differences, curves; and the results as JSON and CSV."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from openjepa.console import duration, log
from openjepa.evaluation.judgement import in_words
from openjepa.files import write_json, write_output
from openjepa.reports.html import render
from openjepa.reports.monitor_charts import runs_chart
from openjepa.reports.result_charts import result_chart
from openjepa.studies.compare.conclusion import JUDGED_BY, Difference, Record, differences, records, sentences
from openjepa.studies.compare.start import Request
from openjepa.studies.compare.study import Comparison
from openjepa.studies.compare.table import show_results, write_results
from openjepa.training.monitoring.metrics_log import read_metrics

RESULTS, TABLE, PAGE = "results.json", "results.csv", "compare.html"


class Row(NamedTuple):
    """A contender or model: its record on each task, in the order of the tasks, and the verdict on its run."""

    name: str
    records: Sequence[Record | None]
    verdict: str


def write_compare_page(study: Comparison, request: Request) -> Path:
    """Write compare.html, results.json and results.csv into the study's folder; print the table and what follows.

    Raises UsageError if it cannot.
    """
    found, differ, said = records(study), differences(study), sentences(study)
    tasks = list(dict.fromkeys(record["task"] for record in found))
    text = render(
        "compare.html",
        study=study,
        request=request,
        sentences=said,
        tasks=[in_words({"task": task, "metric": "accuracy", "protocol": {}}) for task in tasks],
        rows=_rows(study, found, tasks),
        costs=[_cost(study, name) for name in study.configs if study.of(name)],
        results=result_chart([record for record in found if record["task"].split(":")[0] == JUDGED_BY]),
        differences=differ,
        curves=_curves(study, differ),
        test_images=len(study.data.labelled[1]),
        seconds=duration(sum(trial.seconds for trial in study.trials)),
    )
    path = study.folder / PAGE
    write_output(path, text)
    content = {"records": found, "differences": [one._asdict() | {"clear": one.clear} for one in differ]}
    costs = {name: plan.model_dump() for name, plan in study.plans.items()}
    trials = [trial.model_dump(exclude_none=True) for trial in study.trials]
    write_json(study.folder / RESULTS, content | {"sentences": said, "costs": costs, "trials": trials})
    write_results(study.folder / TABLE, study, found)
    show_results(found)
    log(*said, f"page: {path}", f"table: {study.folder / TABLE}")
    return path


def _rows(study: Comparison, found: Sequence[Record], tasks: Sequence[str]) -> list[Row]:
    by_name: dict[str, dict[str, Record]] = {}
    for record in found:
        by_name.setdefault(record["model"], {})[record["task"]] = record
    return [
        Row(name, [by_task.get(task) for task in tasks], _verdict(study, name)) for name, by_task in by_name.items()
    ]


def _verdict(study: Comparison, name: str) -> str:
    """The last verdict of the first seed's run; "" for a model that was only measured."""
    if name not in study.configs:
        return ""
    logged = [record for record in _metrics(study, name) if "status" in record]
    return logged[-1]["status"] if logged else ""


def _cost(study: Comparison, name: str) -> list[str]:
    """Name, steps, images, crops, seconds and operations of a run."""
    plan, trials = study.plans[name], study.of(name)
    images = plan.steps * plan.batch_size
    operations = f"{plan.steps * plan.operations / 1e12:,.3g}"
    counts = [f"{number:,}" for number in (plan.steps, images, images * plan.crops)]
    return [name, *counts, duration(fmean(trial.seconds for trial in trials)), operations]


def _curves(study: Comparison, differ: Sequence[Difference]) -> Figure | None:
    """The effective rank of the first seed's runs; the best is in colour, and the first method of the others."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for name in study.configs:
        steps = study.plans[name].steps
        points = [(100 * r["step"] / steps, r["rank"]) for r in _metrics(study, name) if "rank" in r]
        lines |= {name: points} if points else {}
    if not differ:
        return None
    best = differ[0].name
    return runs_chart(lines, best, next((name for name in lines if name != best), best), False)


def _metrics(study: Comparison, name: str) -> list[dict[str, Any]]:
    trials = study.of(name)
    return read_metrics(study.folder / "trials" / trials[0].folder) if trials else []
