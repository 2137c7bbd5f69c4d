"""What the same tensor is called elsewhere. Our own names are timm's."""

import re
from collections.abc import Iterable

import torch
from torch import Tensor

from openjepa.interop.weights.shapes import MOST_BLOCKS

HF_NAMES = [
    (r"pos_embed$", "embeddings.position_embeddings"),
    (r"patch_embed\.proj\.", "embeddings.patch_embeddings.projection."),
    (r"blocks\.(\d+)\.norm1\.", r"encoder.layer.\1.layernorm_before."),
    (r"blocks\.(\d+)\.norm2\.", r"encoder.layer.\1.layernorm_after."),
    (r"blocks\.(\d+)\.attn\.qkv\.", r"encoder.layer.\1.attention.attention.{query,key,value}."),
    (r"blocks\.(\d+)\.attn\.proj\.", r"encoder.layer.\1.attention.output.dense."),
    (r"blocks\.(\d+)\.mlp\.fc1\.", r"encoder.layer.\1.intermediate.dense."),
    (r"blocks\.(\d+)\.mlp\.fc2\.", r"encoder.layer.\1.output.dense."),
    (r"norm\.", "layernorm."),
]


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


def to_hf(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under transformers' names, copied, since q, k and v are views of one of ours."""
    named: dict[str, Tensor] = {}
    for name, value in state.items():
        places = hf_names(name)
        named |= {place: part.clone() for place, part in zip(places, value.chunk(len(places)), strict=True)}
    return named


def from_hf(named: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under our names; those that its layout does not know, or q without fitting k and v, keep theirs."""
    left, state = dict(named), {}
    for name in encoder_names(min(depth_of(named, r"encoder\.layer\."), MOST_BLOCKS)):
        places = hf_names(name)
        kinds = {(left[place].dtype, left[place].shape[1:]) for place in places if place in left}
        if len(kinds) == 1 and all(place in left and left[place].ndim for place in places):
            parts = [left.pop(place) for place in places]
            state[name] = parts[0] if len(parts) == 1 else torch.cat(parts)
    return state | left


def depth_of(names: Iterable[str], prefix: str) -> int:
    """One more than the largest number of at most five digits after a prefix, a pattern, in names of tensors."""
    numbers = (re.match(prefix + r"([0-9]{1,5})\.", name) for name in names)
    return 1 + max((int(found[1]) for found in numbers if found), default=-1)


def encoder_names(depth: int) -> list[str]:
    """Every tensor of an encoder of so many blocks, the positions first."""
    layers = ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
    stems = ["patch_embed.proj", *(f"blocks.{i}.{layer}" for i in range(depth) for layer in layers), "norm"]
    return ["pos_embed", *(f"{stem}.{part}" for stem in stems for part in ("weight", "bias"))]


def from_official(named: dict[str, Tensor]) -> dict[str, Tensor]:
    """Encoder or predictor of the published checkpoint under our names."""
    return {name.removeprefix("module.").removeprefix("predictor_"): value for name, value in named.items()}


def to_official(state: dict[str, Tensor], predictor: bool) -> dict[str, Tensor]:
    """Our tensors as the published checkpoint names them: `module.`, and all but the mask token `predictor_`."""
    return {f"module.{'predictor_' * (predictor and name != 'mask_token')}{name}": v for name, v in state.items()}
