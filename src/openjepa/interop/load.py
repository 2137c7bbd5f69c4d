"""What a user may name as weights: a run, an artifact, a checkpoint, a folder, a timm model, a model of the Hub."""

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from openjepa.data.crops import Frame
from openjepa.device import choose_device, choose_precision
from openjepa.encoder.baselines import seeded, untrained_like
from openjepa.encoder.encoder import Encoder
from openjepa.encoder.foreign import OURS, check_pooling
from openjepa.errors import UsageError
from openjepa.files.path_arguments import checks_paths
from openjepa.interop.artifact import find_artifact, load_artifact, readable
from openjepa.interop.classifier import head_source, is_head
from openjepa.interop.ensembles.open import load_ensemble
from openjepa.interop.ensembles.stored import is_ensemble
from openjepa.interop.foreign.open import open_foreign
from openjepa.interop.foreign.own_artifact import load_own
from openjepa.interop.foreign.source import ForeignSource
from openjepa.interop.hub import fetch_repository
from openjepa.interop.loaded_weights import Source, adapted
from openjepa.interop.published import OFFICIAL, hf_source, official_source, plain_source
from openjepa.interop.timm import is_timm_name, timm_folder_source, timm_name, timm_source
from openjepa.interop.weights.files import read_facts, read_weights
from openjepa.interop.weights.shapes import Channels, Heads, Side, encoder_arguments
from openjepa.models.vit import SIZES
from openjepa.safety.schema import Schema, fitted

REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
UNTRAINED = "untrained:"  # begins names of encoders that are made here, of a size or of the shape of a folder's
GREY = [0.5, 0.5, 0.5]
SMALL, USUAL = Frame((32, 32)), Frame((224, 224))
STATISTICS = ("auto", "imagenet", "source")


class Wanted(Schema):
    """Changes to a source that a caller asks for."""

    image_size: tuple[Side, Side] | None
    channels: Channels | None
    num_heads: Heads | None


@checks_paths
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
    """The encoder of a run, an artifact, an ensemble, weights that `openjepa import` takes, or any model of timm or
    transformers.

    `untrained:` before a run or an artifact gives an untrained encoder of the same shape, and before the name of a
    size (vit_small_patch16_224) one of that size, as in commands.

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
    if str(path).startswith(UNTRAINED):
        if model is not None:
            raise UsageError(f"{path} with a network of your own has no first weights to draw: leave model out")
        _check_wanted(image_size, channels, num_heads)
        wanted = {"image_size": image_size, "channels": channels, "num_heads": num_heads, "pooling": pooling}
        return untrained_encoder(str(path), where, dtype, wanted=wanted)
    if is_ensemble(Path(path)):
        check_pooling(pooling, OURS, str(path))
        if model is not None or which != "target" or any((image_size, channels, num_heads)):
            raise UsageError(f"{path} is an ensemble, whose members state all of that: leave the options out")
        return load_ensemble(Path(path), where, dtype)[0]
    foreign = open_foreign(str(path), which)
    if model is not None and foreign is None:
        return load_own(Path(path), model, where, dtype)
    if foreign:
        return _foreign_encoder(foreign, image_size, channels).encoder(where, dtype, pooling)
    check_pooling(pooling, OURS, str(path))
    source = open_source(str(path), image_size, channels, num_heads)
    how = where, dtype, source.pixel_format, source.max_stretch, source.licence
    return Encoder(source.encoder(which), source.mean, source.std, str(path), *how)


def untrained_encoder(
    name: str, device: torch.device, precision: torch.dtype, frame: Frame | None = None, wanted: Mapping[str, Any] = {}
) -> Encoder:
    """The encoder that a name which begins with UNTRAINED means, with the first weights of seed 0. Raises UsageError.

    After it comes a run or an artifact, of whose shape it is, with what is `wanted` by keywords of `load_encoder`; or
    vit_nano, vit_small_patch16 or vit_small_patch16_224, at `frame` where the name has no size. Without that, patches
    of 14 or 16 px are taken to be of images of 224 px, and smaller ones of 32 px.
    """
    shape = name.removeprefix(UNTRAINED)
    match = re.fullmatch(r"(vit_[a-z]+)(?:_patch([0-9]{1,9}))?(?:_([0-9]{1,9}))?", shape)
    if match and match[1] in SIZES:
        encoder = _untrained_size(name, match, device, precision, frame, wanted)
    elif match and not Path(shape).exists():
        raise UsageError(f"{name} is not known: known are {', '.join(SIZES)}, a run or an artifact")
    else:
        encoder = untrained_like(load_encoder(find_artifact(Path(shape)), device, precision, **wanted))
    encoder.name = name
    return encoder


def _untrained_size(
    name: str,
    match: re.Match[str],
    device: torch.device,
    precision: torch.dtype,
    frame: Frame | None,
    wanted: Mapping[str, Any],
) -> Encoder:
    """The encoder of a size that is matched by its name, its patch size and its image size, of RGB images."""
    if any(wanted.get(option) not in (None, usual) for option, usual in (("channels", 3), ("num_heads", None))):
        raise UsageError(f"{name} reads 3 channels, with the heads of its size: leave channels and num_heads out")
    check_pooling(wanted.get("pooling", "auto"), OURS, name)
    embed_dim, depth, num_heads, mlp_ratio = SIZES[match[1]]
    patch_size = int(match[2] or 4)
    asked = Frame(wanted["image_size"]) if wanted.get("image_size") else None
    named = Frame((int(match[3]),) * 2) if match[3] else None
    size, max_stretch, *_ = asked or named or frame or (USUAL if patch_size > 8 else SMALL)
    if patch_size and any(side % patch_size for side in size):
        raise UsageError(
            f"{name} has patches that do not divide {'x'.join(map(str, dict.fromkeys(size)))} px: name its size, as "
            f"{match[0]}_224"
        )
    sizes = {"in_chans": 3, "embed_dim": embed_dim, "depth": depth, "num_heads": num_heads, "mlp_ratio": mlp_ratio}
    arguments = encoder_arguments({"image_size": size, "patch_size": patch_size, **sizes}, name)
    return Encoder(seeded(0, **arguments), GREY, GREY, name, device, precision, max_stretch=max_stretch)


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
