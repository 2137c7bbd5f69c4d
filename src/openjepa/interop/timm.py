"""timm's models by name or folder: it knows their shapes, where their weights are and under which licence."""

import importlib.util
import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field

from openjepa.errors import UsageError
from openjepa.interop.hub import fetch_file, fetch_repository
from openjepa.interop.loaded_weights import IMAGENET_MEAN, IMAGENET_STD, Source
from openjepa.interop.published import OFFICIAL, official_source, plain_vit
from openjepa.interop.weights.files import FETCH, read_folder, read_weights, tensors_of
from openjepa.interop.weights.shapes import Channels, Heads, Mean, Side, Std
from openjepa.optional import require
from openjepa.safety.schema import Json, Name, Schema, checked, read_json

PREFIX = "timm:"
NAME = re.compile(rf"{PREFIX}\w+(\.\w+)?|(?=\w*[\d_])[a-z]\w*(\.\w+)?")


# Arguments whose effect shows in the tensors. Any other can change what is computed without a trace in them.
NAMES = """
num_heads img_size patch_size in_chans embed_dim depth mlp_ratio num_classes global_pool class_token
no_embed_class reg_tokens fc_norm pre_norm final_norm qkv_bias qk_norm init_values dynamic_img_size weight_init
drop_rate drop_path_rate
"""
SEEN_IN_TENSORS = frozenset(NAMES.split())


class Arguments(Schema):
    """What of model_args is used."""

    num_heads: Heads | None = None


class PretrainedConfig(Schema):
    """pretrained_cfg of config.json."""

    input_size: tuple[Channels, Side, Side] = (3, 224, 224)
    mean: tuple[Mean, ...] | None = None
    std: tuple[Std, ...] | None = None
    license: Name | None = None


class TimmConfig(Schema):
    """config.json of a folder of timm."""

    architecture: Annotated[str, Field(pattern=r"^[a-z0-9_]{1,100}$")]
    model_args: Annotated[dict[str, Json], Field(max_length=100)] = Field(default_factory=dict)
    pretrained_cfg: PretrainedConfig = PretrainedConfig()


def is_timm_name(name: str) -> bool:
    """Whether timm knows a model of that name; False without timm, unless the name says that it is one of its."""
    if not NAME.fullmatch(name):
        return False
    if not name.startswith((PREFIX, "vit_", "deit")) and importlib.util.find_spec("timm") is None:
        return False
    known = bool(require("timm", "timm").is_model(timm_name(name)))
    if not known and name.startswith(PREFIX):
        raise UsageError(f"timm {require('timm', 'timm').__version__} knows no {timm_name(name)}")
    return known


def timm_name(name: str) -> str:
    """The name that timm has for a model."""
    return name.removeprefix(PREFIX)


def timm_source(name: str) -> Source:
    """The weights that timm has for a model, the published checkpoint whole where that is what it has. UsageError."""
    config = require("timm", "timm").get_pretrained_cfg(name)
    if config is None or not (config.hf_hub_id or config.url):
        raise UsageError(f"timm has no weights for {name}: give one with a tag, such as NAME.augreg_in1k")
    if config.hf_hub_id:
        return replace(timm_folder_source(fetch_repository(config.hf_hub_id), name), licence=config.license)
    content = read_weights(fetch_file(config.url))
    if OFFICIAL & content.keys():
        return replace(official_source(name, content), licence=config.license)
    network, notes = plain_vit(tensors_of(content, name), name, heads(name), config.input_size[1:])
    mean, std = list(config.mean), list(config.std)
    return Source(name, "timm", mean, std, target=network, licence=config.license, notes=tuple(notes))


def timm_folder_source(folder: Path, name: str) -> Source:
    """A folder as timm writes it for the Hub: config.json and model.safetensors. Raises UsageError.

    Nothing that config.json names is opened or fetched, and of its arguments only those that say what its tensors do
    not are used.
    """
    config = read_json(folder / "config.json", TimmConfig, FETCH)
    if unknown := config.model_args.keys() - SEEN_IN_TENSORS:
        raise UsageError(
            f"{name} is a {config.architecture} of timm with {min(unknown)[:60]!r} in model_args of config.json: "
            "import takes plain ViTs without it; embed, evaluate and others take the folder as it is"
        )
    arguments, about = checked(Arguments, config.model_args, f"{folder}/config.json", FETCH), config.pretrained_cfg
    state = tensors_of(read_folder(folder), name)
    usual = heads(config.architecture)
    try:
        network, notes = plain_vit(state, name, arguments.num_heads or usual, about.input_size[1:])
    except UsageError as error:
        raise UsageError(f"{error}; import takes plain ViTs, pretrain --init others too") from error
    mean, std = list(about.mean or IMAGENET_MEAN), list(about.std or IMAGENET_STD)
    return Source(name, "timm", mean, std, target=network, licence=about.license, notes=tuple(notes))


def heads(name: str) -> int:
    """Attention heads of a model of timm, which is built without numbers to ask it; raises UsageError."""
    timm = require("timm", "timm")
    try:
        if not timm.is_model(name):
            raise AttributeError(f"timm knows no {name}")
        with torch.device("meta"):
            block = timm.create_model(name).blocks[0]
        if type(block.mlp.act) is not torch.nn.GELU:
            raise AttributeError(f"{name} has no GELU")
        return block.attn.num_heads
    except (AttributeError, TypeError, RuntimeError, IndexError, ValueError) as error:
        raise UsageError(f"{name} is no plain vision transformer of timm: only those can be imported") from error
