"""Which names mean a network that stays another library's, and that network."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from openjepa.errors import UsageError
from openjepa.interop.artifact import readable
from openjepa.interop.foreign.artifact import foreign_folder, load_foreign
from openjepa.interop.foreign.source import ForeignSource
from openjepa.interop.foreign.timm import create, timm_source_of
from openjepa.interop.foreign.timm_config import TimmConfig, check_arguments
from openjepa.interop.foreign.transformers import transformers_foreign
from openjepa.interop.hub import fetch_file, fetch_repository
from openjepa.interop.published import OFFICIAL
from openjepa.interop.timm import is_timm_name, timm_name
from openjepa.interop.weights.files import FETCH, read_facts, read_folder, read_weights, tensors_of
from openjepa.optional import require
from openjepa.safety.schema import read_json

REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
# What our own network computes too; any other tensor is of something that it lacks.
PLAIN = re.compile(
    r"pos_embed|(patch_embed\.proj|norm|head|blocks\.\d+\.(norm[12]|attn\.(qkv|proj)|mlp\.fc[12]))\.(weight|bias)"
)


def open_foreign(name: str, which: str = "target") -> ForeignSource | None:
    """The network of another library that a name means; None for what is ours, or becomes ours unchanged.

    Ours are runs, artifacts, files of weights, transformers' I-JEPA and timm's plain vision transformers: those without
    class token, registers and the like. Of a run that trained such a network further it is the encoder `which`, target
    or context. Raises UsageError.
    """
    path = Path(name)
    with readable(name):
        if folder := foreign_folder(path):
            return load_foreign(folder, name, which)
        if path.is_dir():
            return _folder(path, name)
        if path.exists():
            return None
        if REPOSITORY.fullmatch(name) and not Path(name.split("/")[0]).exists():
            return _folder(fetch_repository(name), name)
        return _timm(timm_name(name), name) if is_timm_name(name) else None


def _folder(path: Path, name: str) -> ForeignSource | None:
    ours = any((place / "openjepa.json").is_file() for place in (path, path / "encoder"))
    if ours or not (path / "config.json").is_file():
        return None
    facts = read_facts(path / "config.json")
    if "architecture" in facts:
        config = read_json(path / "config.json", TimmConfig, FETCH)
        check_arguments(config, name)
        return None if _is_plain(config) else timm_source_of(config, tensors_of(read_folder(path), name), name)
    if "model_type" in facts and facts["model_type"] != "ijepa":
        return transformers_foreign(path, name)
    return None


def _timm(model: str, name: str) -> ForeignSource | None:
    """A model of timm with the weights that timm has for it."""
    config = require("timm", "timm").get_pretrained_cfg(model)
    if config is None or not (config.hf_hub_id or config.url):
        raise UsageError(f"timm has no weights for {model}: give one with a tag, such as NAME.augreg_in1k")
    if config.hf_hub_id:
        found = _folder(fetch_repository(config.hf_hub_id), name)
    elif _is_plain(TimmConfig(architecture=config.architecture)):
        return None
    else:
        content = read_weights(fetch_file(config.url))
        if content.keys() & OFFICIAL:
            return None
        found = timm_source_of(TimmConfig(architecture=config.architecture), tensors_of(content, name), name)
    return found and replace(found, licence=found.licence or config.license)


def _is_plain(config: TimmConfig) -> bool:
    """Whether a model of timm is the network that ours is."""
    try:
        with torch.device("meta"):
            model: Any = create(config.architecture, config.model_args)
    except Exception:  # the library's code on arguments that do not fit: opening the model says so
        return False
    vit = type(model) is require("timm.models.vision_transformer", "timm").VisionTransformer
    plain: bool = vit and all(map(PLAIN.fullmatch, model.state_dict())) and "pos_embed" in model.state_dict()
    return bool(plain and model.global_pool == "avg" and type(model.blocks[0].mlp.act) is torch.nn.GELU)
