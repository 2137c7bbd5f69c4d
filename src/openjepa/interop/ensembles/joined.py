"""Features side by side, as a folder: written, and opened again."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from openjepa.encoder.encoder import Encoder
from openjepa.encoder.joined import Joined
from openjepa.errors import UsageError
from openjepa.files import atomic_folder, usage_error, write_json
from openjepa.interop.artifact import FACTS, load_artifact
from openjepa.interop.ensembles.member import Member
from openjepa.interop.ensembles.stored import (
    AGAIN,
    MEMBERS,
    TENSORS,
    check_channels,
    check_seen,
    facts_to_store,
    read_facts,
    whole,
)
from openjepa.interop.foreign.artifact import is_foreign_artifact, load_foreign
from openjepa.interop.foreign.source import ForeignSource
from openjepa.interop.weights.files import read_safetensors, save_tensors
from openjepa.interop.weights.match import is_finite

BUFFERS = ("centre", "scale", "matrix")


def check_alike(members: Sequence[Member]) -> None:
    """Raise UsageError unless all members see the same of an image, read the same values, and have patch tokens."""
    for member in members:
        if isinstance(member.source, ForeignSource) and member.source.network.layout.grid_size is None:
            raise UsageError(f"{member.name} has no patch tokens, which an ensemble joins: leave it out")
        check_seen(members[0].seen, member.seen)


def save_joined(
    folder: Path, members: Sequence[Member], joined: Joined, about: dict[str, Any], replace: bool = False
) -> None:
    """Write the folder, whole or not at all; `about` (JSON-able) is stored in openjepa.json. Raises UsageError."""
    width = joined.get_buffer("matrix").shape[1] or None
    how = width, joined.in_chans, members[0].pixel_format, members[0].frame
    known = facts_to_store("concat", [member.name for member in members], *how)
    with usage_error(folder), atomic_folder(folder, replace=replace) as part:
        for number, member in enumerate(members):
            member.write(part / MEMBERS / str(number))
        save_tensors({name: joined.get_buffer(name) for name in BUFFERS}, part / TENSORS)
        write_json(part / FACTS, {**about, **known})


def load_joined(folder: Path, device: torch.device, precision: torch.dtype) -> tuple[Encoder, list[Encoder]]:
    """The ensemble in a folder, and its members. Raises UsageError where anything of it is damaged."""
    facts = read_facts(folder)
    members = [_member(folder / MEMBERS / str(row), name) for row, name in enumerate(facts.ensemble.members)]
    check_alike(members)
    networks = [member.network for member in members]
    check_channels(folder, facts, networks[0].in_chans)
    tensors = _tensors(folder / TENSORS, sum(network.embed_dim for network in networks), facts.ensemble.width)
    joined = Joined(networks, [member.reads for member in members], *tensors)
    encoders = [member.encoder(device, precision) for member in members]
    return whole(joined, encoders[0], str(folder), facts.licence), encoders


def _member(folder: Path, name: str) -> Member:
    if is_foreign_artifact(folder):
        return Member(name, load_foreign(folder, name))
    source = load_artifact(folder)
    return Member(name, source, source.held("target"))


def _tensors(path: Path, numbers: int, width: int | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Centre, scale and projection for so many numbers side by side. Raises UsageError where they do not fit."""
    tensors = read_safetensors(path, AGAIN)
    shapes = {"centre": (numbers,), "scale": (numbers,), "matrix": (numbers, width or 0)}
    for name, shape in shapes.items():
        found = tensors.get(name)
        if found is None or found.shape != shape or found.dtype != torch.float32:
            raise UsageError(f"{path} is damaged: {name} is not {list(shape)} of float32: {AGAIN}")
        if found.numel() and not is_finite(found):
            raise UsageError(f"{path} is damaged: {name} is not finite: {AGAIN}")
    return tensors["centre"], tensors["scale"], tensors["matrix"] if width else None
