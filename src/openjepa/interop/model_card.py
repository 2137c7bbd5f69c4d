"""The model card of an export: the encoder, its training data, its measurements and its permitted use."""

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from openjepa.escaping import markdown
from openjepa.evaluation.results import in_units
from openjepa.interop.formats.registry import Format, Options
from openjepa.interop.loaded_weights import Source

Rows = list[tuple[str, str]]
CODE_NAME = re.compile(r"[\w./-]+")  # what can stand in a line of code as it is


@dataclass(frozen=True)
class Card:
    """The content of a card; empty parts are left out of it.

    library   transformers, timm or "" for others
    usage     code that opens the weights
    measured  records of an evaluation: task, model, value, low, high (fractions) and protocol
    """

    name: str
    licence: str | None
    library: str
    usage: str
    model: Rows
    comparison: Rows
    data: list[str] = field(default_factory=list)
    recipe: Rows = field(default_factory=list)
    masks: Rows = field(default_factory=list)
    monitors: Rows = field(default_factory=list)
    measured: list[dict] = field(default_factory=list)


def write_card(card: Card) -> str:
    """The card in Markdown, with the header that the Hub reads."""
    parts = [
        header(card.licence, "image-feature-extraction", card.library),
        f"# {markdown(card.name)}",
        "An image encoder trained by I-JEPA (arXiv 2301.08243), written by openjepa. The embedding of an image is the "
        "mean over its patch tokens.",
        f"```python\n{card.usage}\n```",
        section("Model", table(card.model)),
        section("Data", "\n".join(f"- {markdown(line)}" for line in card.data)),
        section("Recipe", table(card.recipe)),
        section("Masks", table(card.masks)),
        section("Monitors at the end of training", table(card.monitors)),
        section("Evaluation", _measured(card.measured)),
        section("Agreement with openjepa", table(card.comparison)),
        section("Licence", markdown(card.licence or "") or "None was stated by whoever made these weights: ask them."),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def header(licence: str | None, pipeline: str, library: str) -> str:
    """The lines that the Hub reads."""
    front = {"license": licence or "unknown", "pipeline_tag": pipeline}
    front |= {"library_name": library} if library else {}
    return f"---\n{yaml.safe_dump({**front, 'tags': ['ijepa', 'openjepa']}, sort_keys=False, allow_unicode=True)}---"


def section(title: str, body: str) -> str:
    return f"## {title}\n\n{body}" if body else ""


def table(rows: Rows) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {markdown(a)} | {markdown(b)} |" for a, b in rows)]) if rows else ""


def _measured(records: list[dict]) -> str:
    if not records:
        return ""
    models = list(dict.fromkeys(record["model"] for record in records))
    rows = [f"| accuracy in % (95 % interval) | {' | '.join(map(markdown, models))} |", "|---|" + "---|" * len(models)]
    for task in dict.fromkeys(record["task"] for record in records):
        cells = {r["model"]: _interval(r) for r in records if r["task"] == task}
        rows.append(f"| {markdown(task)} | {' | '.join(cells.get(model, '') for model in models)} |")
    protocol = records[0]["protocol"]
    return "\n".join(rows) + f"\n\nTested on {protocol['test_images']:,} images: {markdown(protocol['test'])}."


def _interval(record: dict) -> str:
    value, low, high = in_units(record)
    return f"{value} ({low} to {high})"


def card_of(source: Source, to: Format, options: Options, name: str, comparison: dict, images: str) -> Card:
    """The card of an export in a format, under `name`, compared with openjepa on `images`."""
    return Card(
        name=name,
        licence=source.licence,
        library=to.library,
        usage=to.usage.format(
            name=name if CODE_NAME.fullmatch(name) else "FOLDER", heads=source.encoder(options.which).num_heads
        ),
        model=_model(source, options.which),
        comparison=comparison_rows(comparison, images),
    )


def _model(source: Source, which: str) -> Rows:
    network = source.encoder(which)
    millions = sum(p.numel() for p in network.parameters()) / 1e6
    (height, width), (rows, columns) = network.image_size, network.grid_size
    return [
        ("encoder", f"{source.held(which)} encoder, {millions:.1f} M parameters"),
        ("shape", f"{network.embed_dim} wide, {len(network.blocks)} blocks, {network.num_heads} heads"),
        ("input", f"{height}x{width} px, {rows}x{columns} patches of {network.patch_size} px"),
        ("preprocessing", f"{_seen(source)}, resized (antialiased bicubic), standardised"),
        ("mean, std", f"{rounded(source.mean)}, {rounded(source.std)}"),
        *origin_rows(source.about),
    ]


def origin_rows(about: dict[str, Any]) -> Rows:
    """Which weights and teacher a run started from, of the facts of its artifact."""
    first, teacher = about.get("source"), about.get("teacher")
    rows = [("weights from", f"{first['name']} ({first['kind']})")] if first else []
    if teacher:
        rows.append(("teacher", f"{teacher['name']}, licence: {teacher['licence'] or 'not stated'}"))
    return rows


def _seen(source: Source) -> str:
    """What of an image its encoders see."""
    cropped = "centre cropped to the proportions of the input"
    most = f"whole where the proportions are within {source.max_stretch:.0%} of the input's, else"
    return f"{most} {cropped}" if source.max_stretch else cropped


def comparison_rows(comparison: dict, images: str) -> Rows:
    """What `compare` found, on `images`."""
    rows = [("images", f"{comparison['images']} of {images}")]
    for what in ("patch_tokens", "embedding"):
        gap = comparison[what]
        rows.append((f"difference of {what}", f"at most {gap['max']:.1e}, {gap['mean']:.1e} on average"))
    return rows


def rounded(values: list[float]) -> list[float]:
    """Numbers as a card shows them."""
    return [round(value, 4) for value in values]
