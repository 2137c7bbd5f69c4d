"""encoder.safetensors under timm's names, its `pos_embed` [1, N, D] among them; encoder.json holds the shape."""

from pathlib import Path

from safetensors import safe_open
from torch import Tensor

from openjepa.files import write_json
from openjepa.interop.artifact import preprocessing
from openjepa.interop.formats.registry import Forward, Options
from openjepa.interop.loaded_weights import Source
from openjepa.interop.weights.files import save_tensors
from openjepa.models.resize import fill, hollow, weights_of
from openjepa.models.vit import VisionTransformer


def write(folder: Path, source: Source, options: Options) -> None:
    encoder = source.encoder(options.which)
    save_tensors(with_positions(encoder), folder / "encoder.safetensors")
    about = {"encoder": encoder.arguments(), **preprocessing(source), "licence": source.licence}
    write_json(folder / "encoder.json", about)
    write_predictor(folder, source, options)


def reopen(folder: Path, options: Options, source: Source) -> Forward:
    with safe_open(folder / "encoder.safetensors", "pt") as file:
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return fill(hollow(**source.encoder(options.which).arguments()), state, state.pop("pos_embed")[0])


def with_positions(encoder: VisionTransformer) -> dict[str, Tensor]:
    """The tensors of an encoder under timm's names, with `pos_embed` [1, N, D]."""
    named = {"pos_embed": encoder.pos_embed[None], **weights_of(encoder)}
    return {name: value.contiguous() for name, value in named.items()}


def write_predictor(folder: Path, source: Source, options: Options) -> None:
    """predictor.safetensors and predictor.json, if asked for and there is one."""
    if options.with_predictor and source.predictor:
        save_tensors(source.predictor.state_dict(), folder / "predictor.safetensors")
        write_json(folder / "predictor.json", source.predictor.arguments())
