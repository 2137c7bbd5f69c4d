"""A network of another library that was opened, with all that belongs to it."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch

from openjepa.data.crops import Frame
from openjepa.data.decoding.pixel_format import PixelFormat
from openjepa.encoder.foreign import ForeignEncoder, ForeignNetwork
from openjepa.errors import UsageError

Found = TypeVar("Found")


@dataclass(frozen=True)
class ForeignSource:
    """A network of another library.

    name     as the user gave it
    frame    what it sees of an image
    mean, std per channel, in [0, 1] units
    licence  of the weights, None where the source states none
    notes    what a user should know, a sentence each
    trained  whether openjepa has trained it further
    pooling  what an embedding is where a user asks for "auto"
    pixel_format  how the values of image files become pixels; 8 bits where it is None
    about    JSON-able facts of how it was trained, {} where unknown
    """

    name: str
    network: ForeignNetwork
    frame: Frame
    mean: list[float]
    std: list[float]
    licence: str | None = None
    notes: tuple[str, ...] = ()
    trained: bool = False
    pooling: str = "auto"
    pixel_format: PixelFormat | None = None
    about: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not len(self.mean) == len(self.std) == self.network.in_chans:
            raise UsageError(
                f"{self.name} has a mean and std of {len(self.mean)} channels and reads {self.network.in_chans}: it "
                "cannot be used"
            )

    def at_size(self, image_size: tuple[int, int]) -> "ForeignSource":
        """The same for images of another size (rows, columns). Raises UsageError where it cannot be."""
        if image_size == self.network.image_size:
            return self
        try:
            network = self.network.at_size(image_size)
        except ValueError as error:
            size = f"{image_size[0]}x{image_size[1]}"
            raise UsageError(f"{self.name} cannot be used for images of {size} px: {error}") from error
        return replace(self, network=network, frame=self.frame._replace(size=image_size))

    @property
    def read_as(self) -> PixelFormat:
        """How the values of image files become pixels."""
        return self.pixel_format or PixelFormat(self.network.in_chans)

    def remarks(self) -> list[str]:
        """What it is, and the notes."""
        licence = self.licence or "not stated by the source"
        return [f"{self.name}: through {self.network.facts['library']}; licence: {licence}", *self.notes]

    def encoder(self, device: torch.device, precision: torch.dtype, pooling: str = "auto") -> ForeignEncoder:
        """The network in use. Raises UsageError for a pooling that it does not have."""
        pooling = self.pooling if pooling == "auto" else pooling
        how = pooling, self.name, device, precision, self.licence, self.pixel_format
        return ForeignEncoder(self.network, self.mean, self.std, self.frame, *how)


def probed(outputs: Callable[[], Found]) -> Found:
    """What a network returns of an image, without gradients. Raises ValueError where its code refuses it."""
    try:
        with torch.inference_mode():
            return outputs()
    except Exception as error:  # code of another library, on a shape that it may not be made for
        raise ValueError(f"its library refuses them ({str(error).splitlines()[0][:150]})") from error
