"""The folder that a run leaves: opened by transformers.AutoModel as it is, and by `load_encoder` with everything.

config.json  model.safetensors  preprocessor_config.json      as transformers' I-JEPA expects (target encoder)
context_encoder.safetensors  predictor.safetensors  openjepa.json   what that layout cannot say
"""

import json
import re
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from openjepa.core.objective import Objective
from openjepa.core.vit import VisionTransformer
from openjepa.errors import UsageError
from openjepa.evaluation.encoder import Encoder

HF_NAMES = [
    (r"patch_embed\.proj\.", "embeddings.patch_embeddings.projection."),
    (r"blocks\.(\d+)\.norm1\.", r"encoder.layer.\1.layernorm_before."),
    (r"blocks\.(\d+)\.norm2\.", r"encoder.layer.\1.layernorm_after."),
    (r"blocks\.(\d+)\.attn\.qkv\.", r"encoder.layer.\1.attention.attention.{query,key,value}."),
    (r"blocks\.(\d+)\.attn\.proj\.", r"encoder.layer.\1.attention.output.dense."),
    (r"blocks\.(\d+)\.mlp\.fc1\.", r"encoder.layer.\1.intermediate.dense."),
    (r"blocks\.(\d+)\.mlp\.fc2\.", r"encoder.layer.\1.output.dense."),
    (r"norm\.", "layernorm."),
]
POSITIONS = "embeddings.position_embeddings"


def hf_names(name: str) -> list[str]:
    """Where transformers keeps one of our tensors: one name, or three for q, k and v, which it keeps apart."""
    for pattern, replacement in HF_NAMES:
        renamed, hits = re.subn("^" + pattern, replacement, name)
        if hits and "{" in renamed:
            before, parts, after = re.split(r"[{}]", renamed)
            return [before + part + after for part in parts.split(",")]
        if hits:
            return [renamed]
    raise ValueError(f"no place for {name} in transformers' layout")


def to_hf(encoder: VisionTransformer) -> dict[str, Tensor]:
    """The encoder's tensors under transformers' names, its position code [1, N, D] with them."""
    named = {POSITIONS: encoder.pos_embed[None].clone()}
    for name, value in encoder.state_dict().items():
        places = hf_names(name)
        named |= {place: part.clone() for place, part in zip(places, value.chunk(len(places)), strict=True)}
    return named


def from_hf(named: dict[str, Tensor], encoder: VisionTransformer) -> None:
    """Load tensors under transformers' names; raises ValueError unless every one of them is used exactly once."""
    places = {name: hf_names(name) for name in encoder.state_dict()}
    expected = {POSITIONS, *(place for group in places.values() for place in group)}
    if expected != named.keys():
        raise ValueError(f"tensors missing or too many: {', '.join(sorted(expected ^ named.keys())[:3])}")
    encoder.load_state_dict({name: torch.cat([named[place] for place in group]) for name, group in places.items()})


def save_artifact(folder: Path, model: Objective, mean: list[float], std: list[float], about: dict) -> None:
    """Write the artifact of a model into `folder`; `about` (JSON-able) is stored in openjepa.json."""
    encoder = model.target_encoder
    folder.mkdir(parents=True, exist_ok=True)
    save_file(to_hf(encoder), folder / "model.safetensors", {"format": "pt"})
    save_file(model.context_encoder.state_dict(), folder / "context_encoder.safetensors")
    save_file(model.predictor.state_dict(), folder / "predictor.safetensors")
    write_json(folder / "config.json", hf_config(encoder))
    write_json(folder / "preprocessor_config.json", hf_preprocessor(encoder.image_size, mean, std))
    write_json(folder / "openjepa.json", {"encoder": encoder.arguments(), "mean": mean, "std": std, **about})


def hf_config(encoder: VisionTransformer) -> dict:
    rows, columns = encoder.image_size
    return {
        "architectures": ["IJepaModel"],
        "model_type": "ijepa",
        "hidden_size": encoder.embed_dim,
        "num_hidden_layers": len(encoder.blocks),
        "num_attention_heads": encoder.num_heads,
        "intermediate_size": encoder.blocks[0].mlp.fc1.out_features,
        "image_size": rows if rows == columns else [rows, columns],
        "patch_size": encoder.patch_size,
        "num_channels": encoder.in_chans,
        "layer_norm_eps": 1e-6,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "qkv_bias": True,
        "dtype": "float32",
    }


def hf_preprocessor(image_size: tuple[int, int], mean: list[float], std: list[float]) -> dict:
    """Preprocessing that transformers can read: equal to ours up to rounding for square sizes.

    Its processor knows no crop of a given shape, so for other sizes it sees less of the image: the shorter side becomes
    the longer one of the model, and the centre of it is taken.
    """
    return {
        "image_processor_type": "BitImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"shortest_edge": max(image_size)},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": {"height": image_size[0], "width": image_size[1]},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": mean,
        "image_std": std,
    }


def load_encoder(
    path: str | Path,
    device: str | torch.device = "cpu",
    precision: torch.dtype = torch.float32,
    which: str = "target",
) -> Encoder:
    """The encoder of an artifact folder, or of a run folder's `encoder/`, with its preprocessing.

    `which`: "target", the one that people use, or "context", the one that was trained by gradients.
    Raises UsageError if the folder is not an artifact or any file of it is missing, damaged or does not fit.
    """
    folder = find_artifact(Path(path))
    about = read_about(folder)
    try:
        shape = dict(about["encoder"])
        network = VisionTransformer(tuple(shape.pop("image_size")), **shape)
        if which == "target":
            from_hf(load_file(folder / "model.safetensors"), network)
        else:
            network.load_state_dict(load_file(folder / f"{which}_encoder.safetensors"))
        return Encoder(network, about["mean"], about["std"], str(path), device, precision)
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UsageError(f"{folder} is damaged ({reason}): resume its run or train again") from error


def find_artifact(path: Path) -> Path:
    """The artifact folder that a path names: itself, or the `encoder` in a run; raises UsageError."""
    for folder in (path, path / "encoder"):
        if (folder / "openjepa.json").is_file():
            return folder
    if not path.exists():
        raise UsageError(f"{path} does not exist: give a run folder, an artifact folder, pixels or untrained:MODEL")
    if (path / "checkpoints").is_dir():
        raise UsageError(f"{path} is a run that has not finished: finish it with openjepa pretrain ... --resume")
    raise UsageError(f"{path} is neither a run nor an artifact: it holds no openjepa.json")


def read_about(folder: Path) -> dict:
    try:
        return json.loads((folder / "openjepa.json").read_text())
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{folder / 'openjepa.json'} is damaged ({error}): train it again, or resume its run"
        ) from error


def write_json(path: Path, value: dict) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")
