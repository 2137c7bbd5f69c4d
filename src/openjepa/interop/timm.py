"""timm's models by name or folder: it knows their shapes, where their weights are and under which licence."""

from dataclasses import replace
from pathlib import Path

import torch

from openjepa.errors import UsageError
from openjepa.interop.hub import fetch_file, fetch_repository
from openjepa.interop.loaded_weights import IMAGENET_MEAN, IMAGENET_STD, Source
from openjepa.interop.published import OFFICIAL, official_source, plain_vit, tensors_of
from openjepa.interop.weight_files import read_folder, read_json, read_weights
from openjepa.optional import require


def is_timm_name(name: str) -> bool:
    """Whether timm knows a model of that name; False without timm, unless the name looks like one of its."""
    if "/" in name or not name.startswith(("vit_", "deit")):
        return False
    return bool(require("timm", "timm").is_model(name))


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
    """A folder as timm writes it for the Hub: config.json and model.safetensors. Raises UsageError."""
    config = read_json(folder / "config.json")
    about, arguments = config.get("pretrained_cfg", {}), config.get("model_args", {})
    size = about.get("input_size", (3, 224, 224))[1:]
    state = tensors_of(read_folder(folder), name)
    network, notes = plain_vit(state, name, heads(config.get("architecture", ""), **arguments), tuple(size))
    mean, std = list(about.get("mean", IMAGENET_MEAN)), list(about.get("std", IMAGENET_STD))
    return Source(name, "timm", mean, std, target=network, licence=about.get("license"), notes=tuple(notes))


def heads(name: str, **arguments) -> int:
    """Attention heads of a model of timm, which is built without numbers to ask it; raises UsageError."""
    try:
        with torch.device("meta"):
            return require("timm", "timm").create_model(name, **arguments).blocks[0].attn.num_heads
    except (AttributeError, TypeError, RuntimeError, IndexError) as error:
        raise UsageError(f"{name} is no plain vision transformer of timm: only those can be imported") from error
