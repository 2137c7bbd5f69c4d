"""The report of a run: what its folder holds, and what its encoder makes of its images."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from openjepa.console import duration, log
from openjepa.data.open import DataSource
from openjepa.data.proportions import seen_in_words
from openjepa.data.sources import scenes
from openjepa.errors import UsageError
from openjepa.evaluation.judgement import (
    Judgement,
    classes_in_words,
    constant_sentence,
    is_baseline,
    is_merit,
    judge,
    verdict_of,
)
from openjepa.evaluation.results import is_fraction
from openjepa.files import write_output
from openjepa.reports.html import render
from openjepa.reports.monitor_charts import FRACTIONS, MONITORED, Curve, curve_chart
from openjepa.reports.next_commands import is_measurable, next_commands, next_lines, report_command
from openjepa.reports.result_charts import by_task, result_chart
from openjepa.reports.run_pictures import Sample, draw_pictures, sample_of
from openjepa.runs.checkpoints import file_at
from openjepa.runs.command_line import resume_command
from openjepa.runs.folder import RunFolder, Setting, training_seconds
from openjepa.runs.settings import Segment


def write_run_page(run: RunFolder, data: DataSource | None, asked: Sequence[str] = ()) -> Path:
    """Write report.html into the run folder, with the neighbours of the images `asked` for by name, or else of some.

    Raises UsageError if `data` is given and holds no images, and for names that are not those of an image.
    """
    images, missing = _images(run, data, asked)
    notes = [*_unfinished(run), *_own_network(run), *missing]
    pictures = draw_pictures(run, images)
    commands = next_commands(run, next(iter(pictures["names"]), None))
    text = render(
        "run.html",
        run=run,
        notes=notes,
        verdict=_verdict(run),
        images=_about_images(run),
        parameters=sum(p.numel() for p in run.encoder.network.parameters()) / 1e6 if run.encoder else None,
        trained_for=duration(training_seconds(run.records, run.config.batch_size)),
        results=_results(run) if run.encoder and run.results else None,
        commands=commands,
        measurable=is_measurable(run),
        show=report_command(run, "IMAGE"),
        curves=_curves(run),
        pictures=pictures,
        panels=_settings_by_panel(run),
        segments=_segments(run),
    )
    path = run.path / file_at("report.html", run.step)
    write_output(path, text)
    log(*notes, f"report: {path}", *next_lines(commands))
    return path


def _images(run: RunFolder, data: DataSource | None, asked: Sequence[str]) -> tuple[Sample | None, list[str]]:
    """Images to show, and notes on them. A name in config.json is not opened, unless it is that of drawn scenes."""
    if data is not None:
        note = [f"The pictures show images of {data}."] * (str(data) != run.data)
        return sample_of(data, run.config.seed, run.pixel_format, asked, run.config.labels), note
    if scenes.takes(run.data) and not run.from_python:
        return sample_of(run.data, run.config.seed, run.pixel_format, asked, run.config.labels), []
    if asked:
        raise UsageError(f"--show {asked[0]} needs the images of the run: give them as --data, too")
    return None, [f"Without pictures, for which the images have to be given: {report_command(run)}"]


def _verdict(run: RunFolder) -> dict[str, str]:
    judged = [record for record in run.records if "verdict" in record]
    if not judged:
        return {"text": "not begun", "sentence": "no step was logged"}
    status, sentence = judged[-1]["status"], judged[-1]["verdict"]
    said = " ".join(filter(None, (sentence.removeprefix(f"{status}: "), judged[-1].get("advice"))))
    return {"text": status, "sentence": said}


def _unfinished(run: RunFolder) -> list[str]:
    if run.step is not None:
        return [f"Of step {run.step:,} of {run.steps:,}."]
    if run.finished:
        return []
    command = resume_command(None if run.from_python else run.data, run.path, run.config, run.probe)
    kept = f" The encoder shown is of step {run.encoder_step:,}." if run.encoder and run.encoder_step else ""
    return [f"Not finished: step {run.done:,} of {run.steps:,}.{kept} Continue with {command}"]


def _own_network(run: RunFolder) -> list[str]:
    """A note where the encoder is a network of a program, which was not given."""
    if run.encoder or not run.own_class or not (run.finished or run.step):
        return []
    return [f"Its encoder is a {run.own_class} of a program, and is shown where one is given: {report_command(run)}"]


def _segments(run: RunFolder) -> list[tuple[str, ...]]:
    """The parts of a run whose length or images were changed: steps, what changed, when, version, command."""
    if not run.segments:
        return []
    starts = [0, *(segment.from_step for segment in run.segments)]
    ends = [*starts[1:], run.steps]
    about = [("started", "", "", run.started_with)]
    about += [(_change(part), part.when, part.openjepa_version, part.command) for part in run.segments]
    return [(f"{start:,} to {end:,}", *words) for start, end, words in zip(starts, ends, about, strict=True)]


def _change(segment: Segment) -> str:
    """What a segment changed, in words."""
    changes = []
    if segment.steps != segment.steps_before:
        changes.append(f"length from {segment.steps_before:,} to {segment.steps:,} steps")
    if images := segment.images:
        names = "" if images.new is None else f": {images.new:,} new, {images.gone:,} gone"
        changes.append(f"images from {images.before:,} to {images.after:,}{names}")
    return "; ".join(changes)


def _about_images(run: RunFolder) -> list[tuple[str, ...]]:
    first, *lines = run.images.lines("skipped.txt")
    seen = ("seen", seen_in_words(run.images.sizes, run.config.frame))
    probe = [("online probe", run.probe)] if run.probe else []
    return [("source", run.data), ("images", first), seen, *probe, *(tuple(line.split(": ", 1)) for line in lines)]


def _results(run: RunFolder) -> dict[str, Any]:
    """The results as a table by task and model, a chart, where this run stands, and how it was measured."""
    records = run.results
    models = list(dict.fromkeys(record["model"] for record in records))
    ours = run.name if run.name in models else models[-1]
    tasks = by_task(records)
    fractions = [record for record in records if is_fraction(record)]
    return {
        "ours": ours,
        "models": models,
        "verdicts": list(filter(None, [verdict_of(records, ours), *constant_sentence(records)])),
        "classes": classes_in_words(records),
        "tasks": tasks,
        "best": {
            task: [r["model"] for r in row.values() if beats_baselines(r, row.values())] for task, row in tasks.items()
        },
        "chart": result_chart(fractions) if fractions else None,
        "protocol": records[-1]["protocol"],
        "protocols": {task: row[ours]["protocol"] for task, row in tasks.items() if ours in row},
    }


def beats_baselines(record: dict[str, Any], row: Iterable[dict[str, Any]]) -> bool:
    """Whether a model is clearly better than every baseline in a row of records of one task."""
    others = [other for other in row if is_baseline(other["model"]) and other is not record]
    better = all(judge(record, other) is Judgement.BETTER for other in others)
    return bool(others) and better and is_merit(record) and not is_baseline(record["model"])


def _curves(run: RunFolder) -> list[tuple[str, Figure]]:
    """A chart of every monitored quantity that was logged."""
    found = []
    for name in MONITORED:
        pairs = [(record["step"], record[name]) for record in run.records if name in record]
        if pairs:
            steps, values = zip(*pairs, strict=True)
            curve = Curve(steps, values, _baseline_levels(run, name), name in FRACTIONS)
            found.append((name, curve_chart(curve, run.steps)))
    return found


def _baseline_levels(run: RunFolder, name: str) -> dict[str, float]:
    start = run.records[0] if run.records[0]["step"] == 0 and name != "energy_gap" else {}
    levels = {"untrained": start.get(name), "pixels": start.get(f"{name}_pixels")}
    return {level: value for level, value in levels.items() if value is not None}


def _settings_by_panel(run: RunFolder) -> dict[str, list[Setting]]:
    panels: dict[str, list[Setting]] = {}
    for setting in run.settings():
        panels.setdefault(setting.panel, []).append(setting)
    return panels
