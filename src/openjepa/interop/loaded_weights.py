"""Networks that were read from a file or another library, with their preprocessing and licence."""

from dataclasses import dataclass, field, replace
from typing import Any

from openjepa.data.decoding.pixel_format import PixelFormat
from openjepa.errors import UsageError
from openjepa.interop.weights.shapes import encoder_arguments
from openjepa.models.predictor import Predictor
from openjepa.models.resize import at_channels, at_size, predictor_at
from openjepa.models.vit import VisionTransformer

IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
PUBLISHED_LICENCE = "cc-by-nc-4.0"
WHICH = ("target", "context")


@dataclass(frozen=True)
class Source:
    """Networks and what belongs to them. `target` or `context` is None where the source lacks it, never both.

    kind     official, hf, timm or openjepa
    mean, std per channel, in [0, 1] units
    licence  of the weights, None where the source states none
    notes    what a user should know of this source, a sentence each
    about    JSON-able facts of how it was trained, {} where unknown
    values, pages   of its `pixel_format`
    max_stretch     of the Frame that its encoders see of an image
    """

    name: str
    kind: str
    mean: list[float]
    std: list[float]
    target: VisionTransformer | None = None
    context: VisionTransformer | None = None
    predictor: Predictor | None = None
    licence: str | None = None
    notes: tuple[str, ...] = ()
    about: dict = field(default_factory=dict)
    values: str = "uint8"
    pages: str = "first"
    max_stretch: float = 0.0

    def __post_init__(self) -> None:
        channels = next(iter(self.encoders.values())).in_chans
        if not len(self.mean) == len(self.std) == channels:
            raise UsageError(
                f"{self.name} has a mean and std of {len(self.mean)} channels and reads {channels}: it cannot be used"
            )

    @property
    def pixel_format(self) -> PixelFormat:
        """How the values of image files become what its encoders read."""
        return PixelFormat(self.encoder("target").in_chans, self.values, self.pages)

    @property
    def encoders(self) -> dict[str, VisionTransformer]:
        """The encoders that there are, by `target` and `context`."""
        named = {"target": self.target, "context": self.context}
        return {name: network for name, network in named.items() if network}

    def encoder(self, which: str) -> VisionTransformer:
        """The encoder asked for, or the only one there is."""
        if which not in WHICH:
            raise UsageError(f"--which {which} is not known: known are {', '.join(WHICH)}")
        return self.encoders[self.held(which)]

    def held(self, which: str) -> str:
        """Which encoder `encoder(which)` gives."""
        return which if which in self.encoders else next(iter(self.encoders))

    def alone(self, which: str) -> "Source":
        """The same with no other network than the encoder that `encoder(which)` gives."""
        encoder: dict[str, Any] = {"target": None, "context": None, self.held(which): self.encoder(which)}
        return replace(self, **encoder, predictor=None)

    def remarks(self, which: str) -> list[str]:
        """The notes, and that it is another encoder than the one asked for."""
        if self.held(which) == which:
            return list(self.notes)
        paper = "; the paper's numbers are the target encoder's" if which == "target" else ""
        return [*self.notes, f"{self.name} holds the {self.held(which)} encoder alone, so that is the one used{paper}"]


def adapted(source: Source, image_size: tuple[int, int] | None, channels: int | None) -> Source:
    """The source for another image size or number of channels; raises UsageError if its patches do not allow it."""
    changes = {"image_size": image_size, "in_chans": channels}
    asked = {name: value for name, value in changes.items() if value is not None}
    for network in source.encoders.values() if asked else ():
        encoder_arguments(network.arguments() | asked, source.name)
    try:
        if image_size is not None:
            source = _at_size(source, image_size)
        return _at_channels(source, channels) if channels is not None else source
    except ValueError as error:
        raise UsageError(f"{source.name}: {error}") from error


def _at_size(source: Source, image_size: tuple[int, int]) -> Source:
    encoders: dict[str, Any] = {name: at_size(network, image_size) for name, network in source.encoders.items()}
    predictor = source.predictor and predictor_at(source.predictor, next(iter(encoders.values())).grid_size)
    return replace(source, **encoders, predictor=predictor)


def _at_channels(source: Source, channels: int) -> Source:
    changed: dict[str, Any] = {}
    for name, network in source.encoders.items():
        changed[name], mean, std = at_channels(network, source.mean, source.std, channels)
    return replace(source, **changed, mean=mean, std=std)
