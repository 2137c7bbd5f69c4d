"""Runs that train a network of another library further: from `--init`, and from their own folder."""

import copy
import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openjepa.config import Config, size_text
from openjepa.console import log
from openjepa.errors import UsageError
from openjepa.interop.foreign.artifact import StoredForeign
from openjepa.interop.foreign.open import open_foreign
from openjepa.interop.foreign.patch_encoder import ForeignPatchEncoder
from openjepa.interop.foreign.source import ForeignSource
from openjepa.interop.foreign.trainable import trainable
from openjepa.interop.weights.shapes import Origin
from openjepa.runs.planning.build_model import Networks, build_around
from openjepa.runs.planning.initial_weights import check_can_continue, check_fixed
from openjepa.runs.settings import CONFIG, StoredRun


@dataclass(frozen=True)
class ForeignWeights:
    """What a run starts from: a network of another library, which stays as it is, and where its weights are from."""

    network: ForeignPatchEncoder
    origin: Origin

    def networks(self, config: Config) -> Networks:
        """Networks whose encoder is a copy of it; the predictor is fresh, and learns alone at first."""
        return foreign_networks(config, self.network, config.init_freeze)


def foreign_networks(config: Config, network: ForeignPatchEncoder, frozen: float) -> Networks:
    about = {"foreign": StoredForeign.of(network.source.network).model_dump()}
    build = lambda: build_around(config, copy.deepcopy(network))  # noqa: E731
    return Networks(build, frozen, imported=True, width=network.embed_dim, about=about)


def open_foreign_init(config: Config, given: dict[str, Any]) -> tuple[Config, ForeignWeights | None]:
    """The config with what the network that --init names decides, and the network; None where it becomes ours.

    Raises UsageError for a network of which no part of the patches can be read, and if `given` contradicts it.
    """
    source = open_foreign(config.init) if config.init else None
    if source is None:
        return config, None
    check_can_continue(config)
    if config.channels not in (None, source.network.in_chans):
        raise UsageError(
            f"{config.init} reads {source.network.in_chans} channels, not {config.channels}: leave out --channels"
        )
    network = trainable(source, config.size if given.get("image_size") is not None else None)
    fixed: dict[str, Any] = {"patch_size": network.patch_size, "image_size": size_text(network.image_size)}
    check_fixed(config, given, fixed)
    if given.get("model") is not None or given.get("weight_init") is not None:
        raise UsageError(f"{config.init} decides the network: leave out --model and --weight-init")
    log(*source.remarks(), _in_words(network))
    kind = StoredForeign.of(source.network).library
    origin = Origin(name=str(config.init), kind=kind, licence=source.licence)
    return dataclasses.replace(config, **fixed), ForeignWeights(network, origin)


def stored_foreign(config: Config, stored: StoredRun) -> Networks | None:
    """Networks of a run in its folder, before its checkpoint is read; None for a run with one of ours.

    They are built from the architecture in config.json; no weights are opened.
    """
    if stored.foreign is None:
        return None
    licence = stored.source.licence if stored.source else None
    name = stored.source.name if stored.source else stored.foreign.architecture
    network = stored.foreign.network(str(Path(CONFIG)))
    source = ForeignSource(name, network, config.frame, stored.mean, stored.std, licence)
    return foreign_networks(config, trainable(source), stored.frozen)


def _in_words(network: ForeignPatchEncoder) -> str:
    millions = sum(p.numel() for p in network.parameters()) / 1e6
    (height, width), (rows, columns) = network.image_size, network.grid_size
    return (
        f"  {millions:.1f} M, {network.embed_dim} wide, {len(list(network.blocks))} blocks, {height}x{width} px, "
        f"{rows}x{columns} patches of {network.patch_size} px, {network.prefix} other tokens"
    )
