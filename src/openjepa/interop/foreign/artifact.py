"""The encoder of a run that trained a network of another library further, in the format of that library.

config.json  model.safetensors      as timm or transformers writes them: the target encoder
context_encoder.safetensors  predictor.safetensors  openjepa.json      what that format cannot state

`openjepa.json` states the architecture: the network is built from it and from the tensors beside it, and from nothing
else.
"""

import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from PIL.Image import Resampling
from pydantic import Field
from torch import Tensor, nn

from openjepa.data.crops import Frame
from openjepa.encoder.foreign import ForeignEncoder, ForeignNetwork
from openjepa.errors import UsageError, unknown
from openjepa.files import atomic_folder, write_json
from openjepa.interop.artifact import AGAIN, FACTS
from openjepa.interop.foreign import timm, transformers
from openjepa.interop.foreign.patch_encoder import ForeignPatchEncoder
from openjepa.interop.foreign.source import ForeignSource
from openjepa.interop.foreign.tensors import count, fill_module
from openjepa.interop.foreign.timm_config import TimmConfig, check_arguments
from openjepa.interop.loaded_weights import WHICH
from openjepa.interop.weights.files import read_folder, read_safetensors, save_tensors
from openjepa.interop.weights.shapes import Origin, Preprocessing, Side, Stretch
from openjepa.methods.base import Parts
from openjepa.optional import require
from openjepa.safety.schema import Json, Name, Schema, checked, read_json

MOST_NUMBERS = 2**34  # in the tensors of a network that is built before its weights are read
CONTEXT = "context_encoder.safetensors"
State = dict[str, Tensor]


class StoredForeign(Schema):
    """The architecture of a network of another library, under that library's names, and its image size."""

    library: Literal["timm", "transformers"]
    architecture: Annotated[str, Field(pattern=r"^[\w-]{1,100}$")]
    arguments: Annotated[dict[Name, Json], Field(max_length=200)]
    image_size: tuple[Side, Side]

    @classmethod
    def of(cls, network: ForeignNetwork) -> "StoredForeign":
        facts = network.facts
        if "type" in facts:
            kind, arguments, library = facts["type"], facts["config"], "transformers"
        else:
            kind, arguments, library = facts["architecture"], facts["arguments"], "timm"
        content = {"library": library, "architecture": kind, "arguments": arguments, "image_size": network.image_size}
        return checked(cls, content, "the architecture", AGAIN)

    def network(self, where: str, state: State | None = None) -> ForeignNetwork:
        """The network with the tensors of `state`, or with first weights. Raises UsageError that begins with `where`.

        Arguments are checked as those of config.json of its library.
        """
        try:
            with torch.random.fork_rng(devices=[]):
                return (self._timm if self.library == "timm" else self._transformers)(where, state)
        except UsageError:
            raise
        except Exception as error:  # the library's code, on arguments that do not fit together
            raise UsageError(f"{where} holds an architecture that cannot be built ({str(error)[:150]})") from error

    def _timm(self, where: str, state: State | None) -> ForeignNetwork:
        stated = self.arguments | {"img_size": list(self.image_size), "num_classes": 0}
        config = checked(TimmConfig, {"architecture": self.architecture, "model_args": stated}, where, AGAIN)
        check_arguments(config, where)
        library = require("timm", "timm").__version__
        facts = {"library": f"timm {library}", "architecture": self.architecture, "arguments": config.model_args}
        model = _built(lambda: timm.create(self.architecture, config.model_args), where, state)
        return timm.timm_network(model, self.image_size, facts)

    def _transformers(self, where: str, state: State | None) -> ForeignNetwork:
        kind, _ = transformers.tower_of({"model_type": self.architecture}, where)
        fields = transformers.config_fields(kind, self.arguments, where)
        library = require("transformers", "hf").__version__
        facts = {"library": f"transformers {library}", "type": kind, "config": fields}
        if state is not None:
            model, _ = transformers.filled(kind, fields, state, where)
        else:
            model = _built(lambda: transformers.build(kind, fields), where, None)
        return transformers.transformers_network(model, self.image_size, facts)


def _built(build: Callable[[], nn.Module], where: str, state: State | None) -> nn.Module:
    """The module with tensors or first weights; without gradients, as all that is opened."""
    with torch.device("meta"):
        expected = build().state_dict()
    if count(expected) > MOST_NUMBERS:
        raise UsageError(f"{where} holds an architecture of more than {MOST_NUMBERS:,} numbers: it cannot be used")
    return build().requires_grad_(False) if state is None else fill_module(build, expected, state, where)


class StoredFrame(Schema):
    """What of an image is seen, where that is not as runs see images: `Frame`, with None for any `max_stretch`."""

    max_stretch: Stretch | None
    zoom: Annotated[float, Field(gt=0, le=1)]
    kernel: Annotated[int, Field(ge=0, le=5)]

    def of(self, size: tuple[int, int]) -> Frame:
        stretch = math.inf if self.max_stretch is None else self.max_stretch
        return Frame(size, stretch, self.zoom, Resampling(self.kernel))


class StoredTensors(Schema):
    """The names of a network's tensors in model.safetensors, beside those of a head of its library.

    prefix  before them; transformers leaves it out of some
    head    how the names of the head begin
    """

    prefix: Annotated[str, Field(max_length=100)] = ""
    head: Annotated[str, Field(min_length=1, max_length=100)]

    def of_network(self, state: State) -> State:
        """The network's tensors, under its own names."""
        return {
            name.removeprefix(self.prefix): tensor for name, tensor in state.items() if not name.startswith(self.head)
        }


class ForeignFacts(Preprocessing):
    """What of openjepa.json decides how its folder is read; the rest is kept and shown.

    frame    of a network that was not trained further, as under a head
    pooling  what an embedding is
    tensors  where model.safetensors also holds a head
    """

    foreign: StoredForeign
    tensors: StoredTensors | None = None
    frame: StoredFrame | None = None
    pooling: Literal["auto", "class", "mean"] = "mean"
    source: Origin | None = None


def foreign_folder(path: Path) -> Path | None:
    """Where a run, an artifact or a head has a network of another library. Raises UsageError for a damaged file."""
    places = (path, path / "encoder", path / "model")
    return next((folder for folder in places if is_foreign_artifact(folder)), None)


def is_foreign_artifact(folder: Path) -> bool:
    """Whether a folder holds an artifact of a network of another library. Raises UsageError for a damaged file."""
    path = folder / FACTS
    return path.is_file() and "foreign" in read_json(path, dict[str, Json], AGAIN)


def save_foreign(folder: Path, parts: Parts, source: ForeignSource, about: dict[str, Any]) -> None:
    """Write the artifact of `parts`, whole or not at all; `source` is its target encoder. Raises OSError."""
    with atomic_folder(folder, replace=True) as part:
        target = parts.encoder
        assert isinstance(target, ForeignPatchEncoder)
        target.write(part, source)
        if isinstance(parts.context_encoder, ForeignPatchEncoder):
            save_tensors(_state(parts.context_encoder.model), part / CONTEXT)
        if parts.predictor:
            save_tensors(_state(parts.predictor), part / "predictor.safetensors", None)
            about = {**about, "predictor": parts.predictor.arguments()}
        how: dict[str, Any] = {"mean": source.mean, "std": source.std, "pixel_format": asdict(source.read_as)}
        how |= {"max_stretch": source.frame.max_stretch}
        how |= {"foreign": StoredForeign.of(source.network).model_dump()}
        write_json(part / FACTS, {**about, **how})


def save_network(folder: Path, encoder: ForeignEncoder) -> None:
    """Write the weights of a network that was opened, in a file that openjepa reads. Raises OSError."""
    save_tensors(_state(encoder.foreign.model), folder / "model.safetensors")


def network_facts(encoder: ForeignEncoder) -> dict[str, Any]:
    """What openjepa.json must state of a network as it was opened."""
    frame = encoder.frame
    stretch = None if math.isinf(frame.max_stretch) else frame.max_stretch
    seen = {"max_stretch": stretch, "zoom": frame.zoom, "kernel": int(frame.kernel)}
    known = {"foreign": StoredForeign.of(encoder.foreign).model_dump(), "frame": seen, "pooling": encoder.pooling}
    return known | {"mean": encoder.mean, "std": encoder.std, "pixel_format": asdict(encoder.pixel_format)}


def load_foreign(folder: Path, name: str, which: str = "target") -> ForeignSource:
    """The encoder `which` of such a folder, or the one that it holds. Raises UsageError.

    The architecture and all tensors come from the folder; names that it states are shown and never opened.
    """
    if which not in WHICH:
        raise UsageError(unknown("--which", which, WHICH))
    path = folder / FACTS
    about = read_json(path, dict[str, Json], AGAIN)
    facts = checked(ForeignFacts, about, str(path), AGAIN)
    context = which == "context" and (folder / CONTEXT).is_file()
    state = read_safetensors(folder / CONTEXT, AGAIN) if context else read_folder(folder)
    state = facts.tensors.of_network(state) if facts.tensors else state
    network = facts.foreign.network(str(path), state)
    try:
        facts.check_channels(network.in_chans)
    except ValueError as error:
        raise UsageError(f"{path} is damaged: {error}: {AGAIN}") from error
    note = f"{name} holds the target encoder alone, so that is the one used"
    return ForeignSource(
        name,
        network,
        facts.frame.of(network.image_size) if facts.frame else Frame(network.image_size, facts.max_stretch),
        list(facts.mean),
        list(facts.std),
        facts.source.licence if facts.source else None,
        (note,) * (which == "context" and not context),
        facts.frame is None,
        facts.pooling,
        facts.pixel_format(network.in_chans),
        about,
    )


def _state(module: nn.Module) -> State:
    return {name: value.detach().cpu() for name, value in module.state_dict().items()}
