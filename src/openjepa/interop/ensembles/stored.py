"""The folder of an ensemble that no single network can hold: its members, and how they are joined.

members/0  members/1 ...    an artifact or head each, which can be opened by itself
ensemble.safetensors        of features side by side: centre, scale and projection of the joined tokens
openjepa.json               how it was made, the names of the members, and how images are read
"""

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from openjepa.data.crops import Frame
from openjepa.data.decoding.pixel_format import PixelFormat
from openjepa.encoder.encoder import Encoder
from openjepa.encoder.joined import Ensemble
from openjepa.errors import UsageError
from openjepa.interop.artifact import ENSEMBLE, FACTS, readable
from openjepa.interop.head_tests import HeadTest
from openjepa.interop.weights.shapes import Origin, Preprocessing
from openjepa.models.protocol import PatchEncoder
from openjepa.safety.schema import Json, Name, Schema, checked, read_json

MEMBERS, TENSORS = "members", "ensemble.safetensors"
AGAIN = "make it again with openjepa ensemble"
MOST_MEMBERS, MOST_WIDTH = 64, 2**17


class StoredEnsemble(Schema):
    """How members are joined, their names as they were given, and the columns of the matrix where there is one."""

    how: Literal["concat", "probes"]
    members: Annotated[tuple[Name, ...], Field(min_length=2, max_length=MOST_MEMBERS)]
    width: Annotated[int, Field(ge=1, le=MOST_WIDTH)] | None = None


class EnsembleFacts(Preprocessing):
    """What of openjepa.json decides how the folder is read."""

    ensemble: StoredEnsemble
    source: Origin | None = None
    test: Annotated[tuple[HeadTest, ...], Field(max_length=100)] = ()

    @property
    def licence(self) -> str | None:
        return self.source.licence if self.source else None


def is_ensemble(path: Path) -> bool:
    """Whether a folder holds an ensemble, whatever else is wrong with it."""
    with readable(str(path)):
        return (path / FACTS).is_file() and ENSEMBLE in read_json(path / FACTS, dict[str, Json], AGAIN)


def read_facts(folder: Path) -> EnsembleFacts:
    """What openjepa.json of an ensemble states. Raises UsageError for a damaged file."""
    return checked(EnsembleFacts, read_json(folder / FACTS, dict[str, Json], AGAIN), str(folder / FACTS), AGAIN)


def stored_members(folder: Path) -> tuple[str, ...]:
    """The names of the members as they were given. Raises UsageError for a damaged file."""
    return read_facts(folder).ensemble.members


def facts_to_store(
    how: str, names: Sequence[str], width: int | None, channels: int, pixel_format: PixelFormat, frame: Frame
) -> dict[str, Any]:
    """What openjepa.json must state; no mean and std, because each member standardises images by its own."""
    stored = {"how": how, "members": [*names], "width": width}
    stretch = 0.0 if math.isinf(frame.max_stretch) else frame.max_stretch  # that of the members decides
    seen = {"pixel_format": asdict(pixel_format), "max_stretch": stretch}
    return {ENSEMBLE: stored, "mean": [0.0] * channels, "std": [1.0] * channels, **seen}


def check_channels(folder: Path, facts: EnsembleFacts, channels: int) -> None:
    """Raise UsageError unless the facts are of members that read so many channels."""
    try:
        facts.check_channels(channels)
    except ValueError as error:
        raise UsageError(f"{folder / FACTS} is damaged: {error}: {AGAIN}") from error


def check_seen(first: tuple[str, Frame, PixelFormat], other: tuple[str, Frame, PixelFormat]) -> None:
    """Raise UsageError unless two members, by their names, see the same of an image and read the same values."""
    for what, mine, theirs in (("see images at", first[1], other[1]), ("read images as", first[2], other[2])):
        if mine != theirs:
            raise UsageError(
                f"{first[0]} and {other[0]} cannot be joined: they {what} {_words(mine)} and {_words(theirs)}"
            )


def _words(how: Frame | PixelFormat) -> str:
    if isinstance(how, PixelFormat):
        return f"{how.channels} channels of {how.values} ({how.pages} pages)"
    rows, columns = how.size
    usual = Frame(how.size)
    named = {"max_stretch": how.max_stretch, "zoom": how.zoom, "kernel": how.kernel.name.lower()}
    other = [f", {name} {value}" for name, value in named.items() if getattr(how, name) != getattr(usual, name)]
    return f"{rows}x{columns} px{''.join(other)}"


def whole(network: PatchEncoder, like: Encoder, name: str, licence: str | None) -> Ensemble:
    """The encoder of an ensemble that sees images `like` a member; they are standardised by the members alone."""
    channels = like.network.in_chans
    how = like.frame, name, like.device, like.precision, like.pixel_format, licence
    return Ensemble(network, [0.0] * channels, [1.0] * channels, *how)
