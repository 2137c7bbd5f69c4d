"""The model card of an export: the encoder, its training data, its measurements and its permitted use."""

import json
import re
from dataclasses import dataclass, field

from openjepa.interop.formats.registry import Format, Options
from openjepa.interop.loaded_weights import Source

Rows = list[tuple[str, str]]
YAML_WORDS = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}


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
        _header(card),
        f"# {_plain(card.name)}",
        "An image encoder trained by I-JEPA (arXiv 2301.08243), written by openjepa. The embedding of an image is the "
        "mean over its patch tokens.",
        f"```python\n{card.usage}\n```",
        _section("Model", _table(card.model)),
        _section("Data", "\n".join(f"- {_plain(line)}" for line in card.data)),
        _section("Recipe", _table(card.recipe)),
        _section("Masks", _table(card.masks)),
        _section("Monitors at the end of training", _table(card.monitors)),
        _section("Evaluation", _measured(card.measured)),
        _section("Agreement with openjepa", _table(card.comparison)),
        _section("Licence", _plain(card.licence or "") or "None was stated by whoever made these weights: ask them."),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _header(card: Card) -> str:
    lines = [f"license: {yaml_text(card.licence or 'unknown')}", "pipeline_tag: image-feature-extraction"]
    lines += [f"library_name: {yaml_text(card.library)}"] if card.library else []
    return "\n".join(["---", *lines, "tags:", "- ijepa", "- openjepa", "---"])


def yaml_text(text: str) -> str:
    """A text as a value in YAML: as it is where no reader could take it for something else, else quoted."""
    plain = re.fullmatch(r"[A-Za-z][\w.+-]*", text, re.ASCII) and text.lower() not in YAML_WORDS
    return text if plain else json.dumps(text)  # a JSON string is one of YAML's double-quoted strings


def _section(title: str, body: str) -> str:
    return f"## {title}\n\n{body}" if body else ""


def _table(rows: Rows) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {_plain(a)} | {_plain(b)} |" for a, b in rows)]) if rows else ""


def _measured(records: list[dict]) -> str:
    if not records:
        return ""
    models = list(dict.fromkeys(record["model"] for record in records))
    rows = [f"| accuracy in % (95 % interval) | {' | '.join(map(_plain, models))} |", "|---|" + "---|" * len(models)]
    for task in dict.fromkeys(record["task"] for record in records):
        cells = {r["model"]: f"{100 * r['value']:.1f} ({_interval(r)})" for r in records if r["task"] == task}
        rows.append(f"| {_plain(task)} | {' | '.join(cells.get(model, '') for model in models)} |")
    protocol = records[0]["protocol"]
    return "\n".join(rows) + f"\n\nTested on {protocol['test_images']:,} images: {_plain(str(protocol['test']))}."


def _interval(record: dict) -> str:
    return f"{100 * record['low']:.1f} to {100 * record['high']:.1f}"


def _plain(text: str) -> str:
    """Text that cannot break a table or open HTML."""
    return str(text).replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def card_of(source: Source, to: Format, options: Options, name: str, comparison: dict, images: str) -> Card:
    """The card of an export in a format, under `name`, compared with openjepa on `images`."""
    return Card(
        name=name,
        licence=source.licence,
        library=to.library,
        usage=to.usage.format(name=name, heads=source.encoder(options.which).num_heads),
        model=_model(source, options.which),
        comparison=_comparison(comparison, images),
    )


def _model(source: Source, which: str) -> Rows:
    network = source.encoder(which)
    millions = sum(p.numel() for p in network.parameters()) / 1e6
    (height, width), (rows, columns) = network.image_size, network.grid_size
    first = source.about.get("source", {})
    origin = [("weights from", f"{first['name']} ({first['kind']})")] if first else []
    return [
        ("encoder", f"{source.held(which)} encoder, {millions:.1f} M parameters"),
        ("shape", f"{network.embed_dim} wide, {len(network.blocks)} blocks, {network.num_heads} heads"),
        ("input", f"{height}x{width} px, {rows}x{columns} patches of {network.patch_size} px"),
        ("preprocessing", "shorter side resized (antialiased bicubic), centre cropped, standardised"),
        ("mean, std", f"{_rounded(source.mean)}, {_rounded(source.std)}"),
        *origin,
    ]


def _comparison(comparison: dict, images: str) -> Rows:
    rows = [("images", f"{comparison['images']} of {images}")]
    for what in ("patch_tokens", "embedding"):
        gap = comparison[what]
        rows.append((f"difference of {what}", f"at most {gap['max']:.1e}, {gap['mean']:.1e} on average"))
    return rows


def _rounded(values: list[float]) -> list[float]:
    return [round(value, 4) for value in values]
