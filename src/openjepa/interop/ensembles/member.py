"""A network that an ensemble is made of, with what belongs to it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from openjepa.data.crops import Frame
from openjepa.data.decoding.pixel_format import PixelFormat
from openjepa.encoder.encoder import Encoder
from openjepa.encoder.joined import Reads
from openjepa.errors import UsageError
from openjepa.files import write_json
from openjepa.interop.artifact import FACTS, write_artifact
from openjepa.interop.foreign.artifact import network_facts, save_network
from openjepa.interop.foreign.source import ForeignSource
from openjepa.interop.loaded_weights import Source
from openjepa.models.protocol import PatchEncoder
from openjepa.models.vit import VisionTransformer


@dataclass(frozen=True)
class Member:
    """The encoder `which` of a source, under the name that messages use."""

    name: str
    source: Source | ForeignSource
    which: str = "target"

    @property
    def plain(self) -> Source:
        """The source of a network of openjepa's own architecture. Raises UsageError for another."""
        if isinstance(self.source, ForeignSource):
            library = self.source.network.facts["library"]
            raise UsageError(
                f"{self.name} holds a network of {library}, and soups average openjepa's own: give --how concat"
            )
        return self.source

    @property
    def vit(self) -> VisionTransformer:
        """The network of one of openjepa's own architecture. Raises UsageError for another."""
        return self.plain.encoder(self.which)

    @property
    def network(self) -> PatchEncoder:
        if isinstance(self.source, ForeignSource):
            network: Any = self.source.network
            return network
        return self.source.encoder(self.which)

    @property
    def frame(self) -> Frame:
        if isinstance(self.source, ForeignSource):
            return self.source.frame
        return Frame(self.network.image_size, self.source.max_stretch)

    @property
    def pixel_format(self) -> PixelFormat:
        return self.source.read_as if isinstance(self.source, ForeignSource) else self.source.pixel_format

    @property
    def seen(self) -> tuple[str, Frame, PixelFormat]:
        """Its name, and what of an image it sees and reads."""
        return self.name, self.frame, self.pixel_format

    @property
    def reads(self) -> Reads:
        return Reads(self.source.mean, self.source.std)

    def encoder(self, device: torch.device, precision: torch.dtype) -> Encoder:
        """The network in use; of one of another library, the embedding is the mean over its patch tokens."""
        if isinstance(self.source, ForeignSource):
            return self.source.encoder(device, precision, "mean")
        source = self.source
        how = device, precision, source.pixel_format, source.max_stretch, source.licence
        return Encoder(self.network, source.mean, source.std, self.name, *how)

    def write(self, folder: Path) -> None:
        """Write an artifact that holds the network alone. Raises OSError."""
        folder.mkdir(parents=True)
        origin = {"source": {"name": self.name, "kind": "openjepa", "licence": self.source.licence}}
        about = {**self.source.about, **origin}
        if isinstance(self.source, ForeignSource):
            encoder = self.source.encoder(torch.device("cpu"), torch.float32, "mean")
            save_network(folder, encoder)
            write_json(folder / FACTS, {**network_facts(encoder), **origin})
        else:
            about.pop("predictor", None)
            write_artifact(folder, self.source.alone(self.which), self.which, about)
