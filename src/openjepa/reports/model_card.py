"""The model card of an export: the encoder, its training data, its measurements and its permitted use."""

from dataclasses import dataclass, field
from pathlib import Path

from openjepa.interop.source import Source
from openjepa.masking.statistics import cover, in_words
from openjepa.runs.folder import RunFolder, read_run_folder

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


USAGE = {
    "hf": 'from transformers import AutoModel\n\nmodel = AutoModel.from_pretrained("{name}")\n'
    "embedding = model(**inputs).last_hidden_state.mean(dim=1)",
    "timm": 'import timm\n\nmodel = timm.create_model("local-dir:{name}", pretrained=True)\nembedding = model(pixels)',
    "safetensors": 'from safetensors.torch import load_file\n\ntensors = load_file("{name}/encoder.safetensors")',
    "onnx": 'import onnxruntime\n\nsession = onnxruntime.InferenceSession("{name}/encoder.onnx")\n'
    'embedding, patch_tokens = session.run(None, {{"pixel_values": pixels}})',
    "official": 'import openjepa\n\nencoder = openjepa.load_encoder("{name}/checkpoint.pth.tar", num_heads={heads})',
}
LIBRARY = {"hf": "transformers", "timm": "timm"}
MONITORS = ("rank", "std", "positional_fraction", "energy_gap", "ema_distance", "knn", "linear", "verdict")


def card_of(source: Source, which: str, to: str, name: str, licence: str | None, comparison: dict, images: str) -> Card:
    """The card of an export in the format `to`, its comparison made on `images`."""
    heads = source.encoder(which).num_heads
    usage = USAGE[to].format(name=name, heads=heads)
    shared = {"name": name, "licence": licence, "library": LIBRARY.get(to, ""), "usage": usage}
    said = {"model": _model(source, which), "comparison": _comparison(comparison, images)}
    folder = Path(source.name)
    if not (folder / "config.json").is_file() or not (folder / "encoder").is_dir():
        return Card(**shared, **said)
    return Card(**shared, **said, **_of_run(read_run_folder(folder)))


def _model(source: Source, which: str) -> list[tuple[str, str]]:
    network = source.encoder(which)
    (height, width), (rows, columns) = network.image_size, network.grid_size
    first = source.about.get("source", {})
    origin = [("weights from", f"{first['name']} ({first['kind']})")] if first else []
    return [
        (
            "encoder",
            f"{source.held(which)} encoder, {sum(p.numel() for p in network.parameters()) / 1e6:.1f} M parameters",
        ),
        ("shape", f"{network.embed_dim} wide, {len(network.blocks)} blocks, {network.num_heads} heads"),
        ("input", f"{height}x{width} px, {rows}x{columns} patches of {network.patch_size} px"),
        ("preprocessing", "shorter side resized (antialiased bicubic), centre cropped, standardised"),
        ("mean, std", f"{_rounded(source.mean)}, {_rounded(source.std)}"),
        *origin,
    ]


def _of_run(run: RunFolder) -> dict:
    """Data, recipe, masks, monitors and evaluation of a run."""
    last: dict = {}
    for record in run.records:
        last |= {name: value for name, value in record.items() if name in MONITORS}
    changed = [(s.option, s.value) for s in run.settings() if s.changed and s.value != "–"]
    masks = in_words(run.masks, cover(run.masks, run.config.batch_size, run.config.seed))
    return {
        "data": [f"source: {run.data}", *run.images.lines()],
        "recipe": [
            ("steps", f"{run.steps:,}"),
            ("images a step", str(run.config.batch_size)),
            *changed,
        ],
        "masks": [("strategy", run.masks.name), *masks],
        "monitors": [
            (name, v if isinstance(v := last[name], str) else f"{v:.3g}") for name in MONITORS if name in last
        ],
        "measured": run.results,
    }


def _comparison(comparison: dict, images: str) -> list[tuple[str, str]]:
    rows = [("images", f"{comparison['images']} of {images}")]
    for what in ("patch_tokens", "embedding"):
        gap = comparison[what]
        rows.append((f"difference of {what}", f"at most {gap['max']:.1e}, {gap['mean']:.1e} on average"))
    return rows


def _rounded(values: list[float]) -> list[float]:
    return [round(value, 4) for value in values]
