"""`--init SRC`: networks that start from existing weights, whose shapes decide some of the settings."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from openjepa.config import Config, size_text
from openjepa.console import log
from openjepa.data.decoding.pixel_format import PixelFormat
from openjepa.errors import UsageError, option, shown
from openjepa.files import atomic_folder, usage_error
from openjepa.interop.artifact import write_artifact
from openjepa.interop.load import open_source
from openjepa.interop.loaded_weights import Source
from openjepa.methods.base import Method
from openjepa.methods.registry import METHODS
from openjepa.models.predictor import Predictor
from openjepa.models.resize import weights_of
from openjepa.models.vit import SIZES, VisionTransformer
from openjepa.renamed import current_names
from openjepa.runs.planning.build_model import Networks, method_of
from openjepa.runs.settings import StoredRun


def describe(source: Source, which: str, licence: str | None) -> list[str]:
    """What a source holds, line by line."""
    network = source.encoder(which)
    millions = sum(p.numel() for p in network.parameters()) / 1e6
    (height, width), (rows, columns) = network.image_size, network.grid_size
    there = [name for name, part in (("target encoder", source.target), ("context encoder", source.context)) if part]
    there += ["predictor"] if source.predictor else []
    mean, std = ([round(x, 3) for x in values] for values in (source.mean, source.std))
    return [
        f"{source.name} ({source.kind}): {', '.join(there)}",
        f"  {millions:.1f} M, {network.embed_dim} wide, {len(network.blocks)} blocks, {network.num_heads} heads",
        f"  {height}x{width} px, {rows}x{columns} patches of {network.patch_size} px, {network.in_chans} channels",
        f"  mean {mean}, std {std}",
        f"  licence: {licence or 'not stated by the source'}",
        *(f"  {remark}" for remark in source.remarks(which)),
    ]


def store(folder: Path, source: Source, which: str, about: dict, overwrite: bool = False) -> None:
    """Write an artifact whole or not at all, with `overwrite` in place of another folder; raises UsageError."""
    with usage_error(folder), atomic_folder(folder, replace=overwrite) as part:
        write_artifact(part, source, which, about)


def open_init(config: Config, given: dict[str, Any]) -> tuple[Config, Source]:
    """The config with what its source decides, and the source; UsageError if `given` contradicts it."""
    check_can_continue(config)
    size = config.size if given.get("image_size") is not None else None
    source = with_matching_predictor(open_source(str(config.init), size, config.channels), config)
    network, predictor = source.encoder("context"), source.predictor
    fixed: dict[str, Any] = {"patch_size": network.patch_size, "weight_init": network.weight_init}
    fixed |= {"image_size": size_text(network.image_size)}
    fixed |= {} if given.get("max_stretch") is not None else {"max_stretch": source.max_stretch}
    fixed |= {"model": standard} if (standard := standard_size(network)) else {}
    if predictor:
        shape = predictor.arguments()
        fixed |= {
            f"predictor_{key}": shape[name]
            for key, name in (("dim", "dim"), ("depth", "depth"), ("heads", "num_heads"))
        }
        fixed |= {"target_sequences": "joint" if shape["joint"] else "separate", "init_freeze": 0.0}
    check_fixed(config, given, fixed)
    log(*describe(source, "target", source.licence))
    return dataclasses.replace(config, **fixed), source


def check_can_continue(config: Config) -> None:
    """Raise UsageError for a method that cannot go on from existing weights."""
    if not method_of(config).can_continue:
        known = ", ".join(name for name, entry in METHODS.items() if entry.load().can_continue)
        raise UsageError(f"--init continues --method {known}, not {config.method}: leave one of them out")


def check_fixed(config: Config, given: Mapping[str, Any], fixed: Mapping[str, Any]) -> None:
    """Raise UsageError where a setting is `given` that the weights of --init have otherwise; they can be resized."""
    for name, value in fixed.items():
        if given.get(name) is not None and getattr(config, name) != value and name != "image_size":
            raise UsageError(f"{config.init} has {option(name)} {value}, not {shown(given[name])}: leave it out")


def with_matching_predictor(source: Source, config: Config) -> Source:
    """The source without its predictor if another method trained that, or it predicts other than representations."""
    method = current_names(source.about.get("settings") or {}).get("method", config.method)
    predicts = source.predictor.proj.out_features if source.predictor else None
    fits = method == config.method and predicts == source.encoder("context").embed_dim and "teacher" not in source.about
    return source if fits else dataclasses.replace(source, predictor=None)


def keeps_statistics(source: Source, pixel_format: PixelFormat) -> bool:
    """Whether the source's mean and std have the units of images of that pixel format."""
    return (source.values == "raw") == (pixel_format.values == "raw")


def standard_size(network: VisionTransformer) -> str | None:
    """The name of the size that a network has, if it has one."""
    shape = (network.embed_dim, len(network.blocks), network.num_heads)
    return next((name for name, size in SIZES.items() if size[:3] == shape), None)


def shapes_of(config: Config, source: Source) -> dict[str, dict]:
    """What builds networks of these shapes again without the source; JSON-able."""
    encoder = source.encoder("context").arguments()
    fresh = {
        "grid_size": source.encoder("context").grid_size,
        "native_size": encoder["native_size"],
        "embed_dim": encoder["embed_dim"],
        "dim": config.predictor_dim,
        "depth": config.predictor_depth,
        "num_heads": config.predictor_heads,
        "weight_init": config.weight_init,
        "joint": config.target_sequences == "joint",
    }
    return {"encoder": encoder, "predictor": source.predictor.arguments() if source.predictor else fresh}


def build_shapes(config: Config, shapes: dict[str, dict]) -> Method:
    """Networks of those shapes, initialised by the seed of the config."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        encoder = VisionTransformer(**shapes["encoder"])
        return method_of(config).build(encoder, Predictor(**shapes["predictor"]), **dataclasses.asdict(config))


def build_continued(config: Config, source: Source) -> Method:
    """The networks of a source, a missing encoder copied from the other one, a missing predictor fresh."""
    model = build_shapes(config, shapes_of(config, source))
    for network, which in ((model.context_encoder, "context"), (model.encoder, "target")):
        first = source.encoder(which)
        table = {"pos_embed": first.pos_embed} if first.position_code == "table" else {}
        network.load_state_dict(weights_of(first) | table)
    predictor = model.parts().predictor
    if source.predictor and predictor:
        predictor.load_state_dict(source.predictor.state_dict())
    return model


def continued_networks(config: Config, source: Source) -> Networks:
    """Networks that start from a source; a fresh predictor learns alone at first."""
    frozen = 0.0 if source.predictor else config.init_freeze
    width = source.encoder("context").embed_dim
    return Networks(lambda: build_continued(config, source), frozen, imported=True, width=width)


def stored_networks(config: Config, stored: StoredRun) -> Networks | None:
    """Networks of a run that was started with --init, before its checkpoint is read; None for another run."""
    if stored.networks is None:
        return None
    shapes = stored.networks.model_dump()
    return Networks(lambda: build_shapes(config, shapes), stored.frozen, imported=True)


def advice(config: Config, has_predictor: bool) -> list[str]:
    """Lines of the plan for a run that starts from existing weights."""
    lines = [
        f"  starts from {config.init}: learning rate up to {config.lr:g}, EMA momentum {shown(config.ema_momentum)}"
    ]
    if not has_predictor:
        lines.append(
            f"  it has no predictor: a fresh one learns alone for {config.init_freeze:.0%} of the run, "
            "so that it does not spoil the encoder"
        )
    momentum = config.ema_momentum
    if config.lr > 5e-4 or (momentum and momentum[0] < 0.99):
        lines.append("  warning: trained weights are soon lost at such rates: give --lr 2e-4 --ema-momentum 0.996 1")
    return lines
