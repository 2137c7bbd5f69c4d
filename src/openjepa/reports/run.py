"""The report of a run, section by section: what its folder holds and its encoder makes of its images."""

import shlex
from pathlib import Path

from openjepa.config import FIELDS, option, shown
from openjepa.console import duration, log
from openjepa.data.dataset import ImageDataset
from openjepa.data.summary import Summary
from openjepa.errors import UsageError
from openjepa.reports import run_sections as sections
from openjepa.reports.html import Html, page
from openjepa.reports.run_pictures import picture_sections, sample_of
from openjepa.runs.folder import Story, repeat_command, training_seconds


def write_run_page(story: Story, data: str | None) -> Path:
    """Write report.html into the run folder; raises UsageError if `data` is given and holds no images."""
    bank, missing = _images(story, data)
    notes = [*_unfinished(story), *missing]
    parts = [_heading(story), *map(sections.note, notes), _about(story), *_measurements(story)]
    text = page(f"{story.name} · openjepa report", *parts, *picture_sections(story, bank), _settings(story))
    path = story.folder / "report.html"
    try:
        path.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error}") from error
    log(*notes)
    return path


def _images(story: Story, data: str | None) -> tuple[ImageDataset | None, list[str]]:
    """Images to show, and what there is to say of them; those of the run may be gone, those asked for may not."""
    if data:
        moved = data != story.resolved["data"]
        return sample_of(data, story.config.seed, story.pixel_format), [f"The pictures show images of {data}."] * moved
    try:
        return sample_of(story.resolved["data"], story.config.seed, story.pixel_format), []
    except UsageError as error:
        return None, [f"Without pictures: {error}. Should the images have moved, name their place with --data."]


def _heading(story: Story) -> Html:
    judged = [record for record in story.records if "verdict" in record]
    status, sentence = (judged[-1]["status"], judged[-1]["verdict"]) if judged else ("not begun", "no step was logged")
    return sections.heading(story.name, story.resolved["data"], status, sentence)


def _unfinished(story: Story) -> list[str]:
    if story.encoder:
        return []
    again = shlex.join(["openjepa", "pretrain", story.resolved["data"], "--out", str(story.folder), "--resume"])
    return [f"Not finished: step {story.done:,} of {story.resolved['steps']:,}. Go on with {again}"]


def _about(story: Story) -> Html:
    first, *lines = Summary(**story.resolved["found"]).lines("skipped.txt")
    images = [("source", story.resolved["data"]), ("images", first), *(line.split(": ", 1) for line in lines)]
    return sections.about(images, _model(story), story.resolved["found"]["classes"])


def _model(story: Story) -> list[tuple[str, str]]:
    config, steps, images = story.config, story.resolved["steps"], story.resolved["found"]["images"]
    masks, network = story.masks, story.encoder and story.encoder.network
    depth = config.predictor_depth
    size = f", {sum(p.numel() for p in network.parameters()) / 1e6:.1f} M parameters" if network else ""
    (height, width), (rows, columns) = config.size, config.grid_size
    return [
        ("encoder", config.model_name + size),
        ("predictor", f"{depth} block{'s' * (depth != 1)}, {config.predictor_dim} wide"),
        ("input", f"{height}x{width} px, {rows}x{columns} patches of {config.patch_size} px"),
        ("masks", f"{masks.name}; {masks.num_targets} target block{'s' * (masks.num_targets != 1)} in each"),
        ("length", f"{steps:,} steps of {config.batch_size:,} images, {steps * config.batch_size / images:.1f} epochs"),
        ("time", f"{duration(training_seconds(story.records, config.batch_size))} of training"),
    ]


def _measurements(story: Story) -> list[Html]:
    over_time = [sections.curves(story.records, story.resolved["steps"])] if story.records else []
    if not story.encoder:
        return over_time
    if story.measured:
        models = [record["model"] for record in story.measured]
        return [sections.results(story.measured, story.name if story.name in models else models[-1]), *over_time]
    run = str(story.folder)
    evaluate = ["openjepa", "evaluate", run, story.resolved["data"], "--json", f"{run}/evaluation.json"]
    return [sections.not_measured(f"{shlex.join(evaluate)} && {shlex.join(['openjepa', 'report', run])}"), *over_time]


def _settings(story: Story) -> Html:
    panels: dict[str, list[tuple[str, str, str, bool]]] = {}
    for name, spec in FIELDS.items():
        value = getattr(story.config, name)
        row = option(name), "–" if value is None else shown(value), spec.metadata["help"], value != spec.default
        panels.setdefault(spec.metadata["panel"], []).append(row)
    program, _, rest = story.resolved["command"].partition(" ")
    return sections.settings(panels, repeat_command(story), f"{Path(program).name} {rest}")
