"""The export of a network of another library that a run trained further: back to that library, opened there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from openjepa.console import log
from openjepa.errors import UsageError
from openjepa.files import atomic_folder, usage_error, write_json, write_text
from openjepa.interop.foreign.patch_encoder import ForeignPatchEncoder
from openjepa.interop.foreign.source import ForeignSource
from openjepa.interop.foreign.trainable import trainable
from openjepa.interop.foreign.trainable_timm import TimmPatchEncoder
from openjepa.interop.foreign.transformers import forward as hf_forward
from openjepa.interop.foreign.transformers import quiet
from openjepa.interop.formats.compare import compare
from openjepa.interop.model_card import CODE_NAME, Card, comparison_rows, origin_rows, rounded, write_card
from openjepa.optional import require
from openjepa.runs.exporting.encoder import COMPARISON, LIMIT, Export, comparison_pixels, difference_lines, with_run

USAGE = {
    "timm": 'import timm\n\nmodel = timm.create_model("local-dir:{name}", pretrained=True).eval()\n'
    "embedding = model.forward_features(pixels)[:, {prefix}:].mean(dim=1)",
    "hf": 'from transformers import AutoModel\n\nmodel = AutoModel.from_pretrained("{name}")\n'
    "embedding = model(**inputs).last_hidden_state[:, {prefix}:].mean(dim=1)",
}


def write_foreign_export(folder: Path, source: ForeignSource, export: Export, overwrite: bool = False) -> None:
    """Write the network in the format of its library, open it there, and log the difference on images.

    With `overwrite` it takes the place of a folder that is there. Raises UsageError for another format.
    """
    network, named = trainable(source), export.format.name
    if named != network.format:
        raise UsageError(
            f"{source.name} holds a network of {source.network.facts['library']}, which cannot be exported to {named}: "
            f"give --to {network.format}"
        )
    if export.options.with_predictor:
        raise UsageError(f"{named} holds the encoder of another library alone: leave out --with-predictor")
    how = source.read_as, source.mean, source.std
    pixels, of = comparison_pixels(export.images, source.frame, *how)
    with usage_error(folder), atomic_folder(folder, replace=overwrite) as part:
        network.write(part, source)
        comparison = compare(_reopened(part, network), source.network, pixels)
        write_json(part / COMPARISON, {"format": named, "images_of": of, **comparison})
        card = _card(source, network, export.hub_name or folder.resolve().name, comparison, of)
        write_text(part / "README.md", write_card(with_run(card, Path(source.name), export.step)))
    log(*difference_lines(folder, named, comparison, of, LIMIT))
    log(f"licence: {source.licence or 'not stated; --licence puts one on the card'}")


def _reopened(folder: Path, network: ForeignPatchEncoder) -> Callable[[Tensor], Tensor]:
    """What the other library makes of the folder: pixels to patch tokens."""
    if isinstance(network, TimmPatchEncoder):
        model: Any = require("timm", "timm").create_model(f"local-dir:{folder.absolute()}", pretrained=True).eval()
        return lambda pixels: model.forward_features(pixels)[:, network.prefix :]
    with quiet():
        theirs = require("transformers", "hf").AutoModel.from_pretrained(folder).eval()
    return lambda pixels: hf_forward(theirs, pixels)["last_hidden_state"][:, network.prefix :]


def _card(source: ForeignSource, network: ForeignPatchEncoder, name: str, comparison: dict, images: str) -> Card:
    facts, (rows, columns) = source.network.facts, network.grid_size
    millions = sum(p.numel() for p in network.parameters()) / 1e6
    return Card(
        name=name,
        licence=source.licence,
        library={"timm": "timm", "hf": "transformers"}[network.format],
        usage=USAGE[network.format].format(name=name if CODE_NAME.fullmatch(name) else "FOLDER", prefix=network.prefix),
        model=[
            ("network", f"{facts.get('architecture') or facts['type']} of {facts['library']}, trained further"),
            ("shape", f"{millions:.1f} M parameters, {network.embed_dim} wide, {len(list(network.blocks))} blocks"),
            ("input", f"{source.frame.size[0]}x{source.frame.size[1]} px, {rows}x{columns} patches"),
            ("mean, std", f"{rounded(source.mean)}, {rounded(source.std)}"),
            *origin_rows(source.about),
        ],
        comparison=comparison_rows(comparison, images),
    )
