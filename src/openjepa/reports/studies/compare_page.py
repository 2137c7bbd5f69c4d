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
from openjepa.studies.compare.curves import ENDED, Equal, curve, equal_costs
from openjepa.studies.compare.start import Complete
from openjepa.studies.compare.study import Comparison
from openjepa.studies.compare.table import show_results, write_results
from openjepa.studies.compare.tuning import changes_in_words
from openjepa.studies.compare.tuning import in_words as in_words_of_trial
from openjepa.training.monitoring.metrics_log import read_metrics

RESULTS, TABLE, PAGE = "results.json", "results.csv", "compare.html"


class Row(NamedTuple):
    """A contender or model: its record on each task, in the order of the tasks, and the verdict on its run."""

    name: str
    records: Sequence[Record | None]
    verdict: str


def write_compare_page(study: Comparison, request: Complete) -> Path:
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
        equal=_equal_costs(study),
        tunings=_tunings(study),
        results=result_chart([record for record in found if record["task"].split(":")[0] == JUDGED_BY]),
        differences=differ,
        curves=_curves(study, differ),
        test_images=len(study.data.labelled[1]),
        seconds=duration(sum(trial.seconds for trial in study.trials)),
    )
    path = study.folder / PAGE
    write_output(path, text)
    tunings = {name: done.model_dump() for name in study.configs if (done := study.tuning(name))}
    content = {"records": found, "differences": [one._asdict() | {"clear": one.clear} for one in differ]}
    costs = {name: plan.model_dump() for name, plan in study.plans.items()}
    trials = [trial.model_dump(exclude_none=True) for trial in study.trials]
    about = {"sentences": said, "costs": costs, "trials": trials, "missing": study.missing(), "tuning": tunings}
    write_json(study.folder / RESULTS, content | about)
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
    """Name, steps, images, crops, seconds of training and in all, operations and memory of a run."""
    plan, trials = study.plans[name], study.of(name)
    images = plan.steps * plan.batch_size
    operations = f"{plan.steps * plan.operations / 1e12:,.3g}"
    counts = [f"{number:,}" for number in (plan.steps, images, images * plan.crops)]
    seconds = [plan.steps * plan.step_seconds, fmean(trial.seconds for trial in trials)]
    memory = max(trial.memory or 0 for trial in trials)
    return [name, *counts, *map(duration, seconds), operations, f"{memory / 2**30:.2g} GiB" if memory else "–"]


def _tunings(study: Comparison) -> list[tuple[str, str, str]]:
    """Name, what was chosen and all trials of each contender that was tuned."""
    found = []
    for name in study.configs:
        if done := study.tuning(name):
            found.append((name, changes_in_words(done.chosen), "; ".join(map(in_words_of_trial, done.trials))))
    return found


class EqualRow(NamedTuple):
    """A contender: for each kind of cost its accuracy, and the fraction of its run where that was before its end."""

    name: str
    cells: Sequence[tuple[float, float | None]]


class EqualCosts(NamedTuple):
    heads: Sequence[str]
    rows: Sequence[EqualRow]


def _equal_costs(study: Comparison) -> EqualCosts | None:
    """What contenders had reached at equal seconds, images and operations, the best by the first kind first."""
    found = equal_costs(study)
    if not found:
        return None
    heads = [_budget_in_words(each) for each in found]
    names = sorted(found[0].reached, key=lambda name: -found[0].reached[name][0])
    rows = [EqualRow(name, [_reached(*each.reached[name]) for each in found]) for name in names]
    return EqualCosts(heads, rows)


def _reached(value: float, fraction: float) -> tuple[float, float | None]:
    return value, fraction if fraction < ENDED else None


def _budget_in_words(equal: Equal) -> str:
    amount = {"seconds": duration, "images": "{:,.0f} images".format, "operations": "{:.2e} operations".format}
    return amount[equal.cost](equal.budget)


def _curves(study: Comparison, differ: Sequence[Difference]) -> dict[str, Figure]:
    """The probe's accuracy over the runs and the effective rank of the first seed's.

    The best is in colour, and the first method of the others.
    """
    lines: dict[str, dict[str, list[tuple[float, float]]]] = {"linear": {}, "rank": {}}
    for name in study.configs:
        steps = study.plans[name].steps
        ranks = [(100 * r["step"] / steps, r["rank"]) for r in _metrics(study, name) if "rank" in r]
        accuracies = [(100 * step / steps, value) for step, value in curve(study, name)]
        for kind, points in (("linear", accuracies), ("rank", ranks)):
            lines[kind] |= {name: points} if points else {}
    if not differ:
        return {}
    best = differ[0].name
    other = next((name for name in study.configs if name != best and study.of(name)), best)
    return {kind: runs_chart(found, best, other, kind == "linear") for kind, found in lines.items() if found}


def _metrics(study: Comparison, name: str) -> list[dict[str, Any]]:
    trials = study.of(name)
    return read_metrics(study.folder / "trials" / trials[0].folder) if trials else []
