"""The model card: what an encoder is, what it was trained on, how it was measured and what may be done with it."""

from dataclasses import dataclass, field

Rows = list[tuple[str, str]]


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
    data: list[str] = field(default_factory=list)
    recipe: Rows = field(default_factory=list)
    masks: Rows = field(default_factory=list)
    monitors: Rows = field(default_factory=list)
    measured: list[dict] = field(default_factory=list)
    comparison: Rows = field(default_factory=list)


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
        _section("Licence", card.licence or "None was stated by whoever made these weights: ask them."),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _header(card: Card) -> str:
    lines = [f"license: {card.licence or 'unknown'}", "pipeline_tag: image-feature-extraction"]
    lines += [f"library_name: {card.library}"] if card.library else []
    return "\n".join(["---", *lines, "tags:", "- ijepa", "- openjepa", "---"])


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
