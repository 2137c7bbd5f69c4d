"""What a model card says of an export: read from the run, where there is one, and from the weights."""

from pathlib import Path

from openjepa.config import FIELDS, option, shown
from openjepa.data.inspect import Summary
from openjepa.interop.source import Source
from openjepa.reporting.card import Card
from openjepa.reporting.coverage import cover, in_words
from openjepa.verbs.story import Story, read_story

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
MONITORS = ("rank", "std", "positional_share", "energy_gap", "ema_distance", "knn", "linear", "verdict")


def card_of(source: Source, which: str, to: str, name: str, licence: str | None, comparison: dict, images: str) -> Card:
    """The card of an export in the format `to`, its comparison made on `images`."""
    heads = source.encoder(which).num_heads
    usage = USAGE[to].format(name=name, heads=heads)
    shared = {"name": name, "licence": licence, "library": LIBRARY.get(to, ""), "usage": usage}
    said = {"model": _model(source, which), "comparison": _comparison(comparison, images)}
    folder = Path(source.name)
    if not (folder / "config.json").is_file() or not (folder / "encoder").is_dir():
        return Card(**shared, **said)
    return Card(**shared, **said, **_of_run(read_story(folder)))


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


def _of_run(story: Story) -> dict:
    """Data, recipe, masks, monitors and evaluation of a run."""
    last: dict = {}
    for record in story.records:
        last |= {name: value for name, value in record.items() if name in MONITORS}
    changed = [
        (option(n), shown(getattr(story.config, n))) for n, s in FIELDS.items() if getattr(story.config, n) != s.default
    ]
    changed = [(name, value) for name, value in changed if value != "None"]
    masks = in_words(story.masks, cover(story.masks, story.config.batch_size, story.config.seed))
    return {
        "data": [f"source: {story.resolved['data']}", *Summary(**story.resolved["found"]).lines()],
        "recipe": [
            ("steps", f"{story.resolved['steps']:,}"),
            ("images a step", str(story.config.batch_size)),
            *changed,
        ],
        "masks": [("strategy", story.masks.name), *masks],
        "monitors": [
            (name, v if isinstance(v := last[name], str) else f"{v:.3g}") for name in MONITORS if name in last
        ],
        "measured": story.measured,
    }


def _comparison(comparison: dict, images: str) -> list[tuple[str, str]]:
    rows = [("images", f"{comparison['images']} of {images}")]
    for what in ("patch_tokens", "embedding"):
        gap = comparison[what]
        rows.append((f"difference of {what}", f"at most {gap['max']:.1e}, {gap['mean']:.1e} on average"))
    return rows


def _rounded(values: list[float]) -> list[float]:
    return [round(value, 4) for value in values]
