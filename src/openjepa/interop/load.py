"""What a user may name as weights: a run, an artifact, a checkpoint, a folder, a timm model, a model of the Hub."""

import os
import re
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from openjepa.device import choose_device, choose_precision
from openjepa.encoder.encoder import Encoder
from openjepa.encoder.foreign import OURS, check_pooling
from openjepa.errors import UsageError
from openjepa.interop.artifact import find_artifact, load_artifact, readable
from openjepa.interop.classifier import head_source, is_head
from openjepa.interop.foreign.open import open_foreign
from openjepa.interop.foreign.own_artifact import load_own
from openjepa.interop.foreign.source import ForeignSource
from openjepa.interop.hub import fetch_repository
from openjepa.interop.loaded_weights import Source, adapted
from openjepa.interop.published import OFFICIAL, hf_source, official_source, plain_source
from openjepa.interop.timm import is_timm_name, timm_folder_source, timm_name, timm_source
from openjepa.interop.weights.files import read_facts, read_weights
from openjepa.interop.weights.shapes import Channels, Heads, Side
from openjepa.safety.schema import Schema, fitted

REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
STATISTICS = ("auto", "imagenet", "source")


class Wanted(Schema):
    """Changes to a source that a caller asks for."""

    image_size: tuple[Side, Side] | None
    channels: Channels | None
    num_heads: Heads | None


def load_encoder(
    path: str | os.PathLike[str],
    device: str | torch.device = "cpu",
    precision: str | torch.dtype = torch.float32,
    *,
    which: str = "target",
    image_size: tuple[int, int] | None = None,
    channels: int | None = None,
    num_heads: int | None = None,
    pooling: str = "auto",
    model: nn.Module | None = None,
) -> Encoder:
    """The encoder of a run, an artifact, weights that `openjepa import` takes, or any model of timm or transformers.

    device      a device of PyTorch or its name, or auto: CUDA, then MPS, then CPU
    precision   of the arithmetic: float32, bf16, or auto (bf16 where it is faster); or a dtype
    which       target (the paper evaluates it) or context; the only one where the source holds one
    image_size  (rows, columns) to use it at; positions keep the extent trained on
    channels    to read, more than it was trained with or 1; see `openjepa.models.resize.at_channels`
    num_heads   for weights of a width that is no standard size
    pooling     what an embedding is: auto (the mean patch token of our networks; of others, as their library pools),
                class (the class token) or mean (of the patch tokens)
    model       for a run that trained a network of your own: one of the same class, whose weights are replaced

    Raises UsageError for a source that is not there, damaged, or does not fit to the last tensor, and for a device or
    precision that there is not.
    """
    where = choose_device(device)
    dtype = choose_precision(precision, where)
    foreign = open_foreign(str(path), which)
    if model is not None and foreign is None:
        return load_own(Path(path), model, where, dtype)
    if foreign:
        return _foreign_encoder(foreign, image_size, channels).encoder(where, dtype, pooling)
    check_pooling(pooling, OURS, str(path))
    source = open_source(str(path), image_size, channels, num_heads)
    how = where, dtype, source.pixel_format, source.max_stretch, source.licence
    return Encoder(source.encoder(which), source.mean, source.std, str(path), *how)


def _foreign_encoder(source: ForeignSource, image_size: tuple[int, int] | None, channels: int | None) -> ForeignSource:
    """The source for another image size; raises UsageError where that, or other channels, cannot be."""
    _check_wanted(image_size, channels, None)
    if channels not in (None, source.network.in_chans):
        raise UsageError(f"{source.name} reads {source.network.in_chans} channels, not {channels}: leave channels out")
    return source.at_size(image_size) if image_size else source


def open_source(
    name: str,
    image_size: tuple[int, int] | None = None,
    channels: int | None = None,
    num_heads: int | None = None,
    statistics: str = "auto",
) -> Source:
    """All that a source holds, adapted to the image size and channels asked for. Raises UsageError."""
    if statistics not in STATISTICS:
        raise UsageError(f"--statistics {statistics} is not known: known are {', '.join(STATISTICS)}")
    _check_wanted(image_size, channels, num_heads)
    with readable(name):
        return adapted(_opened(name, image_size, num_heads, statistics), image_size, channels)


def _check_wanted(image_size: object, channels: object, num_heads: object) -> None:
    """Raise UsageError for changes of the wrong type or out of bounds."""
    try:
        fitted(Wanted, {"image_size": image_size, "channels": channels, "num_heads": num_heads})
    except ValueError as error:
        raise UsageError(f"{error}: give image_size as rows and columns in pixels, others as whole numbers") from error


def _opened(name: str, image_size: tuple[int, int] | None, num_heads: int | None, statistics: str) -> Source:
    path = Path(name)
    if path.is_dir():
        return _folder(path, name, statistics)
    if path.exists():
        return _file(path, name, num_heads, image_size)
    return _far(name, statistics)


def _folder(path: Path, name: str, statistics: str) -> Source:
    if is_head(path):
        return head_source(path, name)
    ours = any((place / "openjepa.json").is_file() for place in (path, path / "encoder"))
    config = read_facts(path / "config.json") if not ours and (path / "config.json").is_file() else {}
    if "architecture" in config:
        return timm_folder_source(path, name)
    return hf_source(path, name, statistics) if "model_type" in config else load_artifact(path)


def _file(path: Path, name: str, num_heads: int | None, image_size: tuple[int, int] | None) -> Source:
    content = read_weights(path)
    if OFFICIAL & content.keys():
        return official_source(name, content, num_heads, image_size)
    for wrapper in ("state_dict", "model"):
        content = content[wrapper] if isinstance(content.get(wrapper), dict) else content
    return plain_source(name, content, num_heads, image_size)


def _far(name: str, statistics: str) -> Source:
    """A timm model, or one of the Hub: fetched once, and found on the disk after that."""
    if REPOSITORY.fullmatch(name) and not Path(name.split("/")[0]).exists():
        return replace(_folder(fetch_repository(name), name, statistics), name=name)
    if is_timm_name(name):
        return timm_source(timm_name(name))
    find_artifact(Path(name))
    raise AssertionError("a path that does not exist was found")
