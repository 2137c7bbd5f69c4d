"""The page of a study: the winner and its command, settings side by side, curves, the score's worth, the paper."""

import dataclasses
import shlex
from pathlib import Path
from statistics import fmean
from typing import Any

from openjepa.config import option, shown
from openjepa.console import duration, log
from openjepa.files import write_output
from openjepa.reports import tuning_sections as sections
from openjepa.reports.ablations import ABLATIONS, BEYOND, Ablation, trend
from openjepa.reports.html import Html, page
from openjepa.runs.unused_settings import without_effect
from openjepa.studies.tune.halving import best
from openjepa.studies.tune.label_free_score import agreement, rank_correlation, read_study
from openjepa.studies.tune.space import COMBINED, RECIPE, Changes, split, values_of
from openjepa.studies.tune.start import ENOUGH, Request
from openjepa.studies.tune.study import Study
from openjepa.training.monitoring.metrics_log import read_metrics

MEASURES = {"linear": "linear probe in %", "score": "score without labels"}
CHARTED = ("loss", "rank", "positional_fraction", "energy_gap")


def write_study_page(study: Study, request: Request) -> Path:
    """Write tune.html into the study's folder, and say which settings won."""
    good, badge, sentence = conclusion(study)
    command = winner_command(study, request)
    parts = [
        sections.heading(request.data, "Settings for these images", good, badge, sentence),
        sections.winner(_changes(study), command, _about(study, request)),
        _settings(study),
        _over_time(study),
        _rungs(study),
        _score(study),
        _beside_the_paper(study),
    ]
    path = study.folder / "tune.html"
    write_output(path, page("openjepa tune", *parts))
    log(sentence, f"train with: {command}", f"page: {path}")
    return path


def in_words(study: Study, value: float) -> str:
    """A result as it is shown: percent for accuracies."""
    return f"{100 * value:.1f}" if study.by == "linear" else f"{value:.3f}"


def _difference(study: Study, value: float) -> str:
    return in_words(study, value) + (" points" if study.by == "linear" else "")


def conclusion(study: Study) -> tuple[bool, str, str]:
    """Whether the winner leads the recipe by more than three times the noise; in a word or two; in a sentence."""
    last, name = len(study.plan.sizes), study.winner["candidate"]
    value, own = study.winner[study.by], study.values(last)[RECIPE]
    if name == RECIPE:
        return False, "keep the recipe", f"No change was better than the recipe over {study.winner['steps']:,} steps."
    if own is None:
        return True, "better", f"{name} trains, the recipe as it is diverges."
    by = f"{_difference(study, value - own)} ({in_words(study, value)} against {in_words(study, own)})"
    noise = f"chance alone makes {_difference(study, study.noise)} (one standard deviation)"
    if value - own <= BEYOND * study.noise:
        return False, "within noise", f"{name} leads the recipe by {by}, but {noise}: the recipe may do as well."
    return True, "better", f"{name} is better than the recipe by {by}; {noise}."


def winner_command(study: Study, request: Request) -> str:
    """The command that trains with the winner's settings for as long as the study took."""
    words = ["openjepa", "pretrain", request.data, "--out", f"{study.folder}-pretrained", "--time", request.budget]
    words += ["--recipe", request.recipe]  # named even if usual: left out, pretrain would pick by the images
    changes = study.winner["changes"]
    idle = without_effect(dataclasses.replace(study.base, **changes))  # of masks that the winner does without, say
    for name, value in (request.given | changes).items():
        if name in idle:
            continue
        words += [option(name), *map(str, value if isinstance(value, tuple | list) else [value])]
    return shlex.join(words)


def _changes(study: Study) -> list[tuple[str, str, str]]:
    own = values_of(study.base)
    return [(option(k), shown(own[k]), shown(v)) for k, v in study.winner["changes"].items()]


def _about(study: Study, request: Request) -> list[tuple[str, str]]:
    ground, records = study.ground, study.records
    asked = f", on {len(ground.labelled[1]):,} held-out images" if ground.labelled else ""
    return [
        ("images", f"{len(ground.dataset):,}"),
        ("start", f"recipe {request.recipe}"),
        ("tried", f"{len(study.tried)} changes, {len(records)} runs"),
        ("chosen by", MEASURES[study.by].removesuffix(" in %") + asked),
        ("took", f"{duration(sum(r['seconds'] for r in records))} of the {request.budget} given"),
    ]


def _scaled(study: Study, value: float) -> float:
    return 100 * value if study.by == "linear" else value


def by_setting(study: Study) -> dict[str, dict[Any, float]]:
    """Results of the first rung by setting and value, what they are tried beside (the recipe, mean over its seeds, or
    the recipe with multiblock masks) in its place; settings tried so end in ", multiblock"."""
    found: dict[str, dict[Any, float]] = {}
    for record in study.rung(1):
        if record["changes"]:
            beside, setting, value = split(record["changes"])
            name = ", ".join([setting, *beside.values()])
            results = found.setdefault(name, _own(study, beside, setting))
            if study.by in record:
                results[value] = record[study.by]
    return found


def _own(study: Study, beside: Changes, setting: str) -> dict[Any, float]:
    """The value that candidates tried `beside` these changes would else have had, and what that came to."""
    same = [record[study.by] for record in study.rung(1) if record["changes"] == beside and study.by in record]
    results = same if beside else study.alike
    return {values_of(dataclasses.replace(study.base, **beside))[setting]: fmean(results)} if results else {}


def _settings(study: Study) -> Html:
    groups: dict[str, dict[str, float]] = {}
    for record in study.rung(1):
        if record["changes"] and study.by in record:
            name = split(record["changes"])[1]
            groups.setdefault(name, {})[record["candidate"]] = _scaled(study, record[study.by])
    reference = fmean(study.alike) if study.alike else 0.0
    scaled = _scaled(study, reference), _scaled(study, study.noise)
    return sections.settings(groups, *scaled, MEASURES[study.by])


def _over_time(study: Study) -> Html:
    last = [record for record in study.rung(len(study.plan.sizes)) if "failed" not in record]
    curves: dict[str, dict] = {name: {} for name in CHARTED}
    for record in last:
        logged = read_metrics(study.folder / "trials" / record["folder"])
        for name, lines in curves.items():
            pairs = [(100 * r["step"] / record["steps"], r[name]) for r in logged if name in r]
            lines[record["candidate"]] = tuple(zip(*pairs, strict=True))
    return sections.over_time(curves, study.winner["candidate"], RECIPE)


def _rungs(study: Study) -> Html:
    tables = []
    for rung in range(len(study.plan.sizes), 0, -1):
        records = {record["candidate"]: record for record in study.records if record["rung"] == rung}
        order = best({name: record.get(study.by) for name, record in records.items()}, len(records))
        order += [name for name in records if name not in order]
        rows = [_row(records[name]) for name in order]
        steps = records[RECIPE]["steps"]
        head = ["run", *(["linear %", "k-NN %"] if study.ground.labelled else [])]
        head += ["score", "rank", "position", "energy gap", "seconds"]
        title = f"Rung {rung}: {len(records)} runs of {steps:,} steps ({study.plan.images[rung - 1]:,} images)"
        tables.append((title, head, rows + (_baselines(study) if study.ground.labelled else [])))
    return sections.rungs(tables)


def _row(record: dict) -> list[str]:
    if "failed" in record:
        return [record["candidate"], "diverged"]
    now = record["monitors"]
    name = record["candidate"]
    if name == COMBINED:
        name += ": " + ", ".join(f"{k} {shown(v)}" for k, v in record["changes"].items())
    accuracy = [f"{100 * record[task]:.1f}" for task in ("linear", "knn") if task in record]
    numbers = [f"{record['score']:.3f}", f"{now['rank']:.1f}", f"{now['positional_fraction']:.0%}"]
    return [name, *accuracy, *numbers, f"{now['energy_gap']:.2f}", f"{record['seconds']:.0f}"]


def _baselines(study: Study) -> list[list[str]]:
    return [
        [name.replace("pixels", "raw pixels"), *(f"{100 * found[task]:.1f}" for task in ("linear", "knn")), *["–"] * 5]
        for name, found in study.baselines.items()
    ]


def _score(study: Study) -> Html:
    runs = read_study()
    worth = f"{agreement(runs):.2f} over {len(runs)} runs of the project's study"
    words = [f"Its rank correlation with linear accuracy is {worth}; below {ENOUGH} it may not choose by itself."]
    points = [(r["score"], r["linear"], not r["changes"]) for r in study.rung(1) if "linear" in r]
    if points:
        rho = rank_correlation([score for score, *_ in points], [linear for _, linear, _ in points])
        words.append(f"Over the {len(points)} settings in the first rung of this study it is {rho:.2f}.")
    return sections.score_section(points, words)


def _beside_the_paper(study: Study) -> Html:
    tried, found = by_setting(study), []
    for ablation in ABLATIONS:
        ours = tried.get(f"{ablation.setting}, multiblock") or tried.get(ablation.setting, {})
        found.append((ablation, _rows(study, ablation, ours), trend(ablation, ours, study.noise)))
    noise = _difference(study, study.noise)
    return sections.beside_the_paper(found, MEASURES[study.by].removesuffix(" in %"), noise)


def _rows(study: Study, ablation: Ablation, ours: dict[Any, float]) -> dict[str, tuple[str, str]]:
    values = list(dict.fromkeys([*ablation.results, *ours]))
    values.sort(key=lambda value: (isinstance(value, str), value if not isinstance(value, str) else ""))
    paper = {value: f"{result:.1f}" for value, result in ablation.results.items()}
    return {shown(v): (paper.get(v, "–"), in_words(study, ours[v]) if v in ours else "–") for v in values}
