"""The report of a run, section by section: what its folder holds and its encoder makes of its images."""

import shlex
from pathlib import Path

from openjepa.console import duration, log
from openjepa.data.dataset import ImageDataset
from openjepa.errors import UsageError
from openjepa.files import write_output
from openjepa.reports import run_sections as sections
from openjepa.reports.html import Html, page
from openjepa.reports.run_pictures import picture_sections, sample_of
from openjepa.runs.folder import RunFolder, training_seconds


def write_run_page(run: RunFolder, data: str | None) -> Path:
    """Write report.html into the run folder; raises UsageError if `data` is given and holds no images."""
    bank, missing = _images(run, data)
    notes = [*_unfinished(run), *missing]
    parts = [_heading(run), *map(sections.note, notes), _about(run), *_measurements(run)]
    text = page(f"{run.name} · openjepa report", *parts, *picture_sections(run, bank), _settings(run))
    path = run.path / "report.html"
    write_output(path, text)
    log(*notes)
    return path


def _images(run: RunFolder, data: str | None) -> tuple[ImageDataset | None, list[str]]:
    """Images to show, and what there is to say of them; those of the run may be gone, those asked for may not."""
    if data:
        moved = data != run.data
        return sample_of(data, run.config.seed, run.pixel_format), [f"The pictures show images of {data}."] * moved
    try:
        return sample_of(run.data, run.config.seed, run.pixel_format), []
    except UsageError as error:
        return None, [f"Without pictures: {error}. Should the images have moved, name their place with --data."]


def _heading(run: RunFolder) -> Html:
    judged = [record for record in run.records if "verdict" in record]
    status, sentence = (judged[-1]["status"], judged[-1]["verdict"]) if judged else ("not begun", "no step was logged")
    return sections.heading(run.name, run.data, status, sentence)


def _unfinished(run: RunFolder) -> list[str]:
    if run.encoder:
        return []
    again = shlex.join(["openjepa", "pretrain", run.data, "--out", str(run.path), "--resume"])
    return [f"Not finished: step {run.done:,} of {run.steps:,}. Go on with {again}"]


def _about(run: RunFolder) -> Html:
    first, *lines = run.images.lines("skipped.txt")
    images = [("source", run.data), ("images", first), *(line.split(": ", 1) for line in lines)]
    return sections.about(images, _model(run), run.images.classes)


def _model(run: RunFolder) -> list[tuple[str, str]]:
    config, steps, images = run.config, run.steps, run.images.images
    masks, network = run.masks, run.encoder and run.encoder.network
    depth = config.predictor_depth
    size = f", {sum(p.numel() for p in network.parameters()) / 1e6:.1f} M parameters" if network else ""
    (height, width), (rows, columns) = config.size, config.grid_size
    return [
        ("encoder", config.model_name + size),
        ("predictor", f"{depth} block{'s' * (depth != 1)}, {config.predictor_dim} wide"),
        ("input", f"{height}x{width} px, {rows}x{columns} patches of {config.patch_size} px"),
        ("masks", f"{masks.name}; {masks.num_targets} target block{'s' * (masks.num_targets != 1)} in each"),
        ("length", f"{steps:,} steps of {config.batch_size:,} images, {steps * config.batch_size / images:.1f} epochs"),
        ("time", f"{duration(training_seconds(run.records, config.batch_size))} of training"),
    ]


def _measurements(run: RunFolder) -> list[Html]:
    over_time = [sections.curves(run.records, run.steps)] if run.records else []
    if not run.encoder:
        return over_time
    if run.results:
        models = [record["model"] for record in run.results]
        return [sections.results(run.results, run.name if run.name in models else models[-1]), *over_time]
    path = str(run.path)
    evaluate = ["openjepa", "evaluate", path, run.data, "--json", f"{path}/evaluation.json"]
    return [sections.not_measured(f"{shlex.join(evaluate)} && {shlex.join(['openjepa', 'report', path])}"), *over_time]


def _settings(run: RunFolder) -> Html:
    panels: dict[str, list[tuple[str, str, str, bool]]] = {}
    for one in run.settings():
        panels.setdefault(one.panel, []).append((one.option, one.value, one.meaning, one.changed))
    program, _, rest = run.command.partition(" ")
    return sections.settings(panels, run.repeat_command(), f"{Path(program).name} {rest}")
