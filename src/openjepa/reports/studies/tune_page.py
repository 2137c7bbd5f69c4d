"""The page of a study: the winner and its command, settings side by side, curves, all runs, the paper's ablations."""

from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from openjepa.console import duration, log
from openjepa.files import write_output
from openjepa.reports.html import render
from openjepa.reports.monitor_charts import FRACTIONS, Lines, runs_chart
from openjepa.reports.result_charts import settings_chart
from openjepa.reports.studies.paper_ablations import ABLATIONS, Ablation, trend
from openjepa.runs.command_line import setting_in_words
from openjepa.studies.tune.conclusion import conclusion, percent, points, results_by_setting, winner_command
from openjepa.studies.tune.halving import best
from openjepa.studies.tune.space import RECIPE, split, values_of
from openjepa.studies.tune.start import Request
from openjepa.studies.tune.study import Study
from openjepa.training.monitoring.metrics_log import read_metrics

CHARTED = ("loss", "rank", "positional_fraction", "energy_gap")


def write_tune_page(study: Study, request: Request) -> Path:
    """Write tune.html into the study's folder, and print which settings won. Raises UsageError if it cannot."""
    found, command = conclusion(study), winner_command(study, request)
    text = render(
        "tune.html",
        study=study,
        request=request,
        verdict={"text": found.text, "sentence": found.sentence},
        changes=_changes(study),
        command=command,
        settings=_settings_chart(study),
        curves=_curves(study),
        seconds=duration(sum(record["seconds"] for record in study.records)),
        rungs=[_rung(study, rung) for rung in range(len(study.plan.sizes), 0, -1)],
        ablations=_ablations(study),
        noise=points(study.noise),
    )
    path = study.folder / "tune.html"
    write_output(path, text)
    log(found.sentence, f"train with: {command}", f"page: {path}")
    return path


def _changes(study: Study) -> list[tuple[str, str, str]]:
    """Option, value in the recipe, value of the winner."""
    own = values_of(study.base)
    changed = study.winner["changes"].items()
    return [(*setting_in_words(name, own[name]), setting_in_words(name, value)[1]) for name, value in changed]


def _settings_chart(study: Study) -> Figure:
    """The first rung: every changed setting beside the recipe."""
    groups: dict[str, dict[str, float]] = {}
    for record in study.rung(1):
        if record["changes"] and "linear" in record:
            setting = split(record["changes"])[1]
            groups.setdefault(setting, {})[record["candidate"]] = 100 * record["linear"]
    own = fmean(study.alike) if study.alike else 0.0
    return settings_chart(groups, 100 * own, 100 * study.noise, "linear probe in %")


def _curves(study: Study) -> list[tuple[str, Figure]]:
    """A chart of each monitored quantity of the last rung's runs."""
    runs = [record for record in study.rung(len(study.plan.sizes)) if "failed" not in record]
    logs = [(run, read_metrics(study.folder / "trials" / run["folder"])) for run in runs]
    found = []
    for name in CHARTED:
        lines: Lines = {
            run["candidate"]: [(100 * r["step"] / run["steps"], r[name]) for r in records if name in r]
            for run, records in logs
        }
        found.append((name, runs_chart(lines, study.winner["candidate"], RECIPE, name in FRACTIONS)))
    return found


class Rung(NamedTuple):
    """The runs of a rung, best first."""

    number: int
    steps: int
    images: int
    runs: list[dict[str, Any]]


def _rung(study: Study, number: int) -> Rung:
    records = {record["candidate"]: record for record in study.records if record["rung"] == number}
    order = best({name: record.get("linear") for name, record in records.items()}, len(records))
    order += [name for name in records if name not in order]
    return Rung(number, records[RECIPE]["steps"], study.plan.images[number - 1], [records[name] for name in order])


class Comparison(NamedTuple):
    """An ablation of the paper beside this study: rows of a value, the paper's accuracy and ours."""

    ablation: Ablation
    trend: str
    rows: list[tuple[str, str, str]]


def _ablations(study: Study) -> list[Comparison]:
    tried, found = results_by_setting(study), []
    for ablation in ABLATIONS:
        ours = tried.get(f"{ablation.setting}, multiblock") or tried.get(ablation.setting, {})
        found.append(Comparison(ablation, trend(ablation, ours, study.noise), _rows(ablation, ours)))
    return found


def _rows(ablation: Ablation, ours: dict[Any, float]) -> list[tuple[str, str, str]]:
    values = list(dict.fromkeys([*ablation.results, *ours]))
    values.sort(key=lambda value: (isinstance(value, str), value if not isinstance(value, str) else ""))
    paper = {value: f"{result:.1f}" for value, result in ablation.results.items()}
    return [
        (setting_in_words(ablation.setting, v)[1], paper.get(v, "–"), percent(ours[v]) if v in ours else "–")
        for v in values
    ]
