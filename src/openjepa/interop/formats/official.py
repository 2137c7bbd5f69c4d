"""checkpoint.pth.tar in the published layout: both encoders and the predictor, always."""

from pathlib import Path

import torch

from openjepa.errors import UsageError
from openjepa.interop.formats.registry import Forward, Options
from openjepa.interop.formats.safetensors import with_positions
from openjepa.interop.loaded_weights import Source
from openjepa.interop.published import official_source
from openjepa.interop.weights.files import read_weights
from openjepa.interop.weights.tensor_names import to_official

FILE = "checkpoint.pth.tar"


def write(folder: Path, source: Source, options: Options) -> None:
    """Raises UsageError if a network is missing or its positions are not the sin-cos code of a square grid."""
    if not (source.target and source.context and source.predictor):
        raise UsageError(f"{source.name} lacks a network: that layout holds encoders and predictor")
    encoder = source.target
    if encoder.position_code != "sincos" or encoder.native_size != encoder.grid_size or len(set(encoder.grid_size)) > 1:
        raise UsageError(
            f"{source.name} has positions that the published layout cannot hold: it knows the sin-cos code of a "
            "square grid, the one trained on; use another --to"
        )
    parts = {"encoder": source.context, "target_encoder": source.target}
    content: dict = {name: to_official(with_positions(network), False) for name, network in parts.items()}
    predictor = {**source.predictor.state_dict(), "pos_embed": source.predictor.pos_embed[None]}
    content |= {"predictor": to_official(predictor, True), "opt": None, "scaler": None, "epoch": 0}
    torch.save(content, folder / FILE)


def reopen(folder: Path, options: Options, source: Source) -> Forward:
    """Read as the published checkpoint is, which does not store the number of heads."""
    encoder = source.encoder("target")
    again = official_source(str(folder / FILE), read_weights(folder / FILE), encoder.num_heads, encoder.image_size)
    return again.encoder(options.which)
