"""The folder that a run leaves: opened by transformers.AutoModel as it is, and by `load_encoder` with everything.

config.json  model.safetensors  preprocessor_config.json      as transformers' I-JEPA expects: the target encoder,
    unless another was asked for when it was imported
context_encoder.safetensors  predictor.safetensors  openjepa.json   what that layout cannot state; an import has what
    its source had, and target_encoder.safetensors where the context encoder takes the first place
"""

import contextlib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import model_validator
from torch import Tensor

from openjepa.data.crops import Frame
from openjepa.data.decoding.pixel_format import RGB, PixelFormat
from openjepa.errors import UsageError
from openjepa.files import atomic_folder, write_json
from openjepa.interop.loaded_weights import Source
from openjepa.interop.weights.files import read_safetensors, save_tensors
from openjepa.interop.weights.match import matched
from openjepa.interop.weights.shapes import EncoderShape, Origin, PredictorShape, Preprocessing
from openjepa.interop.weights.tensor_names import from_hf, to_hf
from openjepa.methods.base import Method, Parts
from openjepa.models.predictor import Predictor
from openjepa.models.resize import fill, fill_predictor, hollow, hollow_predictor, weights_of
from openjepa.models.vit import VisionTransformer
from openjepa.safety.schema import Json, checked, read_json

FACTS = "openjepa.json"
OWN_MODEL = "own_model"  # what states that a folder holds a network of a program
ENSEMBLE = "ensemble"  # what states that a folder holds several networks
AGAIN = "resume its run or train again"


class Facts(Preprocessing):
    """What of openjepa.json decides how its folder is read; the rest is kept and shown."""

    encoder: EncoderShape
    which: Literal["target", "context"] = "target"
    predictor: PredictorShape | None = None
    source: Origin | None = None
    settings: dict[str, Json] | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        self.check_channels(self.encoder.in_chans)
        if self.predictor and self.predictor.fits != (self.encoder.grid_size, self.encoder.embed_dim):
            raise ValueError("predictor is for an encoder of another grid or width")
        return self


def save_artifact(
    folder: Path,
    model: Method,
    mean: list[float],
    std: list[float],
    about: dict,
    pixel_format: PixelFormat = RGB,
    max_stretch: float = 0.0,
) -> None:
    """Write the artifact of a model, whole or not at all; `about` (JSON-able) is stored in openjepa.json. OSError."""
    how: dict[str, Any] = {"values": pixel_format.values, "pages": pixel_format.pages, "max_stretch": max_stretch}
    whole = Source(str(folder), "openjepa", mean, std, *vits(model.parts()), **how)
    with atomic_folder(folder, replace=True) as part:
        write_artifact(part, whole, "target", about)


def vits(parts: Parts) -> tuple[VisionTransformer, VisionTransformer | None, Predictor | None]:
    """The networks of a method, whose encoders must be plain ViTs: raises UsageError where they are not."""
    encoder, context, predictor = parts
    if not isinstance(encoder, VisionTransformer) or not isinstance(context, VisionTransformer | None):
        raise UsageError(f"{type(encoder).__name__} is no plain ViT, so that other libraries cannot open it")
    return encoder, context, predictor


def write_artifact(folder: Path, source: Source, which: str, about: dict) -> None:
    """Write the networks of a source into a folder, the encoder `which` in the place that transformers opens."""
    encoder, other = source.encoder(which), {"target": source.context, "context": source.target}[source.held(which)]
    save_tensors(encoder_state(encoder), folder / "model.safetensors")
    beside = {
        f"{'context' if source.held(which) == 'target' else 'target'}_encoder": other,
        "predictor": source.predictor,
    }
    for name, network in beside.items():
        if network:
            save_tensors(network.state_dict(), folder / f"{name}.safetensors", None)
    write_json(folder / "config.json", hf_config(encoder))
    frame = Frame(encoder.image_size, source.max_stretch)
    processor = hf_preprocessor(frame, source.mean, source.std, source.pixel_format)
    write_json(folder / "preprocessor_config.json", processor)
    shapes = {"encoder": encoder.arguments(), "which": source.held(which)}
    shapes |= {"predictor": source.predictor.arguments()} if source.predictor else {}
    write_json(folder / FACTS, {**about, **shapes, **preprocessing(source)})


def hf_config(encoder: VisionTransformer) -> dict:
    rows, columns = encoder.image_size
    return {
        "architectures": ["IJepaModel"],
        "model_type": "ijepa",
        "hidden_size": encoder.embed_dim,
        "num_hidden_layers": len(encoder.blocks),
        "num_attention_heads": encoder.num_heads,
        "intermediate_size": hidden_width(encoder),
        "image_size": rows if rows == columns else [rows, columns],
        "patch_size": encoder.patch_size,
        "num_channels": encoder.in_chans,
        "layer_norm_eps": encoder.norm_eps,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "qkv_bias": True,
        "dtype": "float32",
    }


def hidden_width(encoder: VisionTransformer) -> int:
    """Width of the hidden layer of each block's MLP."""
    return encoder.state_dict()["blocks.0.mlp.fc1.weight"].shape[0]


def preprocessing(source: Source) -> dict:
    """What of a source turns an image file into what its encoders take."""
    statistics = {"mean": source.mean, "std": source.std}
    return {**statistics, "pixel_format": asdict(source.pixel_format), "max_stretch": source.max_stretch}


def hf_preprocessor(frame: Frame, mean: list[float], std: list[float], pixel_format: PixelFormat = RGB) -> dict:
    """Preprocessing that transformers can read; of other than 8-bit images it is given arrays.

    Its processor knows no crop of given proportions. For a square size it crops, which is equal to ours up to rounding
    but for images so nearly square that ours sees them whole. For another size with a `max_stretch` it stretches every
    image whole, which is equal to ours for images of about the proportions of the size. For another size without, it
    sees less of an image than ours: the shorter side becomes the longer one of the size, and its centre is taken.
    """
    rows, columns = frame.size
    stretched = bool(rows != columns and frame.max_stretch)
    shape = {"height": rows, "width": columns}
    return {
        "image_processor_type": "BitImageProcessor",
        "do_convert_rgb": len(mean) == 3,
        "do_resize": True,
        "size": shape if stretched else {"shortest_edge": max(frame.size)},
        "resample": 3,
        "do_center_crop": not stretched,
        "crop_size": shape,
        "do_rescale": pixel_format.values != "raw",
        "rescale_factor": 1 / {"uint8": 255, "unit": 65535, "raw": 1}[pixel_format.values],
        "do_normalize": True,
        "image_mean": mean,
        "image_std": std,
    }


def needs_network(name: str, kind: str = "") -> str:
    """What to say of a model whose network a program gave: a class, where its name is known."""
    held = f"a network of the class {kind}" if kind else "the weights of a network"
    return (
        f"{name} holds {held} of your own: open it in Python with one of the same class, as network=... of "
        "openjepa.evaluate, embed, export and report, or model=... of openjepa.load_encoder"
    )


def load_artifact(path: Path) -> Source:
    """All networks of an artifact folder, or of a run folder's `encoder/`, with their preprocessing.

    Raises UsageError if the folder is not an artifact or any file of it is missing, damaged, not finite or unfit.
    """
    folder = find_artifact(path)
    about = read_json(folder / FACTS, dict[str, Json], AGAIN)
    if OWN_MODEL in about:
        raise UsageError(needs_network(str(path)))
    if ENSEMBLE in about:
        raise UsageError(
            f"{path} is an ensemble of several networks, which this cannot use: give one of its members, as "
            f"{path}/members/0, or a soup"
        )
    if "foreign" in about:
        raise UsageError(f"{path} holds a network of another library, which cannot become a plain ViT")
    facts = checked(Facts, about, str(folder / FACTS), AGAIN)
    encoder = read_encoder(folder / "model.safetensors", facts.encoder, AGAIN)
    networks: dict[str, Any] = {facts.which: encoder, **_beside(folder, facts, encoder)}
    pixel_format = facts.pixel_format(encoder.in_chans)
    return Source(
        str(path),
        "openjepa",
        list(facts.mean),
        list(facts.std),
        **networks,
        licence=facts.source.licence if facts.source else None,
        about=about,
        values=pixel_format.values,
        pages=pixel_format.pages,
        max_stretch=facts.max_stretch,
    )


def encoder_state(encoder: VisionTransformer) -> dict[str, Tensor]:
    """Every tensor of an encoder as artifacts keep them: transformers' names, the positions [1, N, D] among them."""
    return to_hf({"pos_embed": encoder.pos_embed[None], **weights_of(encoder)})


def read_encoder(path: Path, shape: EncoderShape, what_to_do: str) -> VisionTransformer:
    """The encoder of a file with transformers' names, of a known shape; raises UsageError."""
    return build_encoder(from_hf(read_safetensors(path, what_to_do)), shape, str(path), what_to_do)


def build_encoder(state: dict[str, Tensor], shape: EncoderShape, what: str, what_to_do: str) -> VisionTransformer:
    """The encoder of tensors under our names, of a known shape. Raises UsageError, which names `what`."""
    network = hollow(**shape.model_dump())
    positions = state.get("pos_embed")
    try:
        tensors = matched(state, network)
        if positions is None or positions.shape != (1, *network.pos_embed.shape):
            raise ValueError(f"pos_embed is not {[1, *network.pos_embed.shape]}")
    except ValueError as error:
        raise UsageError(f"{what} is damaged: {error}: {what_to_do}") from error
    return fill(network, tensors, positions[0].float())


def _beside(folder: Path, facts: Facts, encoder: VisionTransformer) -> dict[str, VisionTransformer | Predictor]:
    """What there is beside the first encoder; positions that are a fixed code are stored once, with the first."""
    found: dict[str, VisionTransformer | Predictor] = {}
    for which in ("context", "target"):
        path = folder / f"{which}_encoder.safetensors"
        if path.is_file():
            state = {"pos_embed": encoder.pos_embed[None], **_table(read_safetensors(path, AGAIN))}
            found[which] = build_encoder(state, facts.encoder, str(path), AGAIN)
    path = folder / "predictor.safetensors"
    if path.is_file() and facts.predictor:
        found["predictor"] = _read_predictor(path, facts.predictor)
    return found


def _read_predictor(path: Path, shape: PredictorShape) -> Predictor:
    predictor = hollow_predictor(**shape.model_dump())
    try:
        return fill_predictor(predictor, matched(read_safetensors(path, AGAIN), predictor))
    except UsageError:
        raise
    except ValueError as error:
        raise UsageError(f"{path} is damaged: {error}: {AGAIN}") from error


def _table(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value[None] if name == "pos_embed" else value for name, value in state.items()}


@contextlib.contextmanager
def readable(name: str) -> Iterator[None]:
    """Turn OSError from looking for what a user named, as for a name that is too long, into UsageError."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"cannot read {name} ({error.strerror}): give another name, or change permissions") from error


def find_artifact(path: Path) -> Path:
    """The artifact folder that a path names: itself, or the `encoder` in a run; raises UsageError."""
    with readable(str(path)):
        for folder in (path, path / "encoder"):
            if (folder / FACTS).is_file():
                return folder
        if not path.exists():
            raise UsageError(f"{path} does not exist: give a run, an artifact, or weights that openjepa import takes")
        if (path / "checkpoints").is_dir():
            raise UsageError(f"{path} is a run that has not finished: finish it with openjepa pretrain ... --resume")
    raise UsageError(f"{path} is neither a run nor an artifact: it holds no openjepa.json")
