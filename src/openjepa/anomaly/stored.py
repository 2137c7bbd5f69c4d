"""The folder of a detector: detector.json says how it was made, detector.safetensors holds what it knows of normals."""

import math
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from openjepa.anomaly.calibration import Calibration, Spread, Threshold
from openjepa.anomaly.density import WIDTH, ImageDensity, PlaceDensity
from openjepa.anomaly.detector import Detector, Facts, LightingChoice, Suspect
from openjepa.anomaly.energy import Energies
from openjepa.anomaly.memory import COMPONENTS, CellMemory, PatchMemory
from openjepa.anomaly.patches import PatchFeatures, PatchModel, PatchSettings, feature_width
from openjepa.anomaly.reading import Reader, cells_of
from openjepa.anomaly.scorer import DensityPart, EnergyPart, ImagePart, MemoryPart, Part, PixelPart
from openjepa.encoder.feature_cache import model_hash
from openjepa.errors import UsageError
from openjepa.files import write_json
from openjepa.interop.weights.files import read_safetensors, save_tensors
from openjepa.safety.schema import Count, Fraction, Name, PositiveInt, Schema, read_json

FACTS, TENSORS = "detector.json", "detector.safetensors"
AGAIN = "fit it again with openjepa anomaly fit"
Side = Annotated[int, Field(ge=1, le=2**16)]
Hash = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
ScoreName = Literal["memory", "density", "pixels", "image", "energy"]
Moments = tuple[float, Annotated[float, Field(gt=0)]]


class StoredPatches(Schema):
    layers: Annotated[int, Field(ge=1, le=1000)]
    pool: Annotated[int, Field(ge=1, le=99)]
    lighting: bool


class StoredSpread(Schema):
    image: Moments
    maps: Moments | None = None


class StoredThreshold(Schema):
    value: float
    rate: Annotated[float, Field(gt=0, lt=1)]
    count: PositiveInt
    low: Annotated[float, Field(ge=0, le=1)]
    high: Annotated[float, Field(ge=0, le=1)]


class StoredSuspect(Schema):
    path: Name
    above: float


class StoredLighting(Schema):
    plain: Fraction
    even: Fraction
    images: PositiveInt


class StoredFacts(Schema):
    """detector.json."""

    version: Literal[1]
    model: Name
    step: Count | None
    model_hash: Hash
    predictor_hash: Hash | None = None
    image_size: tuple[Side, Side]
    grid_size: tuple[Side, Side]
    source: Name
    images: PositiveInt
    size: tuple[Side, Side]
    patches: StoredPatches
    spreads: dict[ScoreName, StoredSpread]
    planted: dict[ScoreName, Fraction] = Field(default_factory=dict)
    how: Name
    threshold: StoredThreshold | None = None
    suspects: Annotated[tuple[StoredSuspect, ...], Field(max_length=100)] = ()
    lighting: StoredLighting | None = None
    turned: bool = False
    any_light: bool = False

    @model_validator(mode="after")
    def _has_maps(self) -> Self:
        if not any(spread.maps for spread in self.spreads.values()):
            raise ValueError("spreads has no score with maps")
        if ("energy" in self.spreads) != (self.predictor_hash is not None):
            raise ValueError("predictor_hash is of a detector with energy, and of no other")
        if self.planted and self.planted.keys() != self.spreads.keys():
            raise ValueError("planted is of other scores than spreads")
        return self


def write_detector(folder: Path, detector: Detector, step: int | None = None) -> None:
    """Write a detector into an empty folder; `step` is of which checkpoint its model is. Raises OSError."""
    reader, facts, calibration = detector.reader, detector.facts, detector.calibration
    spreads: Any = {name: StoredSpread(**vars(spread)) for name, spread in calibration.spreads.items()}
    planted: Any = calibration.planted
    stored = StoredFacts(
        version=1,
        model=facts.model,
        step=step,
        model_hash=model_hash(reader.model, arithmetic=False),
        predictor_hash=reader.energies.hash() if reader.energies else None,
        image_size=detector.image_size,
        grid_size=detector.grid_size,
        source=facts.source[:1000],
        images=facts.images,
        size=facts.size,
        patches=StoredPatches(**vars(reader.features.settings)),
        spreads=spreads,
        planted=planted,
        how=calibration.how,
        threshold=StoredThreshold(**vars(calibration.threshold)) if calibration.threshold else None,
        suspects=tuple(StoredSuspect(path=path[:1000], above=above) for path, above in facts.suspects),
        lighting=StoredLighting(**facts.lighting._asdict()) if facts.lighting else None,
        turned=facts.turned,
        any_light=facts.any_light,
    )
    save_tensors(_tensors(detector), folder / TENSORS)
    write_json(folder / FACTS, stored.model_dump())


def _tensors(detector: Detector) -> dict[str, Tensor]:
    found = {"held_out": torch.from_numpy(detector.calibration.held_out)}
    for part in detector.parts.values():
        if isinstance(part, MemoryPart):
            found |= {"memory.features": part.memory.features, "memory.owners": part.memory.owners}
        if isinstance(part, DensityPart):
            found |= {"density.means": part.density.means, "density.roots": part.density.roots}
        if isinstance(part, PixelPart):
            memory = part.memory
            found |= {"pixels.mean": memory.mean, "pixels.axes": memory.axes, "pixels.features": memory.features}
        if isinstance(part, EnergyPart):
            found |= {"energy.mean": part.mean, "energy.std": part.std}
        if isinstance(part, ImagePart):
            found |= {"image.mean": part.density.mean, "image.precision": part.density.precision}
    return found


def read_detector_facts(folder: Path) -> StoredFacts:
    """What detector.json says. Raises UsageError where the folder is no detector, or damaged."""
    if not (folder / FACTS).is_file():
        raise UsageError(f"{folder} is no detector: give a folder that openjepa anomaly fit wrote")
    return read_json(folder / FACTS, StoredFacts, AGAIN)


def read_detector(folder: Path, stored: StoredFacts, model: PatchModel, energies: Energies | None = None) -> Detector:
    """The detector in a folder, with the model and energies that it was fitted on. Raises UsageError for others."""
    same = stored.predictor_hash == (energies.hash() if energies else None)
    if not same or model_hash(model, arithmetic=False) != stored.model_hash or model.grid_size != stored.grid_size:
        raise UsageError(
            f"{folder} was fitted on another model than {model.name} is now: fit it again, or name with --model where "
            "the model is that it was fitted on"
        )
    settings = PatchSettings(**stored.patches.model_dump())
    path = folder / TENSORS
    tensors = _Tensors(read_safetensors(path, AGAIN), path)
    sizes = _Sizes(math.prod(stored.grid_size), feature_width(model, settings), cells_of(model)[1])
    parts: dict[str, Part] = {name: _PARTS[name](tensors, sizes) for name in stored.spreads}
    threshold = Threshold(**stored.threshold.model_dump()) if stored.threshold else None
    spreads: dict[str, Spread] = {name: Spread(spread.image, spread.maps) for name, spread in stored.spreads.items()}
    held_out = tensors.take("held_out", (None,), torch.float64).numpy()
    planted: dict[str, float] = dict(stored.planted.items())
    calibration = Calibration(spreads, stored.how, held_out, threshold, planted)
    suspects = tuple(Suspect(suspect.path, suspect.above) for suspect in stored.suspects)
    lighting = LightingChoice(**stored.lighting.model_dump()) if stored.lighting else None
    facts = Facts(
        stored.model, stored.source, stored.images, stored.size, suspects, lighting, stored.turned, stored.any_light
    )
    reader = Reader(PatchFeatures(model, settings), energies, "pixels" in stored.spreads)
    return Detector(reader, parts, calibration, facts, str(folder))


class _Tensors:
    """Tensors of a file, each checked when it is taken."""

    def __init__(self, tensors: dict[str, Tensor], path: Path) -> None:
        self.tensors, self.path = tensors, path

    def take(self, name: str, shape: tuple[int | None, ...], dtype: torch.dtype = torch.float32) -> Tensor:
        """The tensor of a name; raises UsageError unless its shape (None: any), dtype and numbers are as they must."""
        value = self.tensors.get(name, torch.empty(0, 0, 0, 0))
        sizes = zip(shape, value.shape, strict=False)
        fits = value.dtype == dtype and value.ndim == len(shape)
        if not fits or any(want not in (None, have) for want, have in sizes):
            raise UsageError(f"{self.path} is damaged: {name} is missing or of another shape: {AGAIN}")
        if dtype.is_floating_point and not value.isfinite().all():
            raise UsageError(f"{self.path} is damaged: {name} has numbers that are not finite: {AGAIN}")
        return value

    def take_some(self, name: str, width: int) -> Tensor:
        """The tensor [n, width] of a name, of at least one row."""
        value = self.take(name, (None, width))
        if not len(value):
            raise UsageError(f"{self.path} is damaged: {name} is empty: {AGAIN}")
        return value


class _Sizes(NamedTuple):
    """Patches of an image, numbers of a feature, and numbers of a cell of pixels."""

    places: int
    width: int
    cell: int


def _memory(tensors: _Tensors, sizes: _Sizes) -> Part:
    features = tensors.take_some("memory.features", sizes.width)
    return MemoryPart(PatchMemory(features, tensors.take("memory.owners", (len(features),), torch.int64)))


def _pixels(tensors: _Tensors, sizes: _Sizes) -> Part:
    kept = min(sizes.cell, COMPONENTS)
    mean, axes = tensors.take("pixels.mean", (sizes.cell,)), tensors.take("pixels.axes", (sizes.cell, kept))
    return PixelPart(CellMemory(mean, axes, tensors.take_some("pixels.features", kept)))


def _density(tensors: _Tensors, sizes: _Sizes) -> Part:
    places, narrow = sizes.places, min(sizes.width, WIDTH)
    means, roots = (
        tensors.take("density.means", (places, narrow)),
        tensors.take("density.roots", (places, *[narrow] * 2)),
    )
    return DensityPart(PlaceDensity(means, roots))


def _image(tensors: _Tensors, sizes: _Sizes) -> Part:
    narrow = min(sizes.width, WIDTH)
    return ImagePart(
        ImageDensity(tensors.take("image.mean", (narrow,)), tensors.take("image.precision", (narrow, narrow)))
    )


def _energy(tensors: _Tensors, sizes: _Sizes) -> Part:
    mean, std = tensors.take("energy.mean", (sizes.places,)), tensors.take("energy.std", (sizes.places,))
    if std.min() <= 0:
        raise UsageError(f"{tensors.path} is damaged: energy.std has numbers that are not above 0: {AGAIN}")
    return EnergyPart(mean, std)


_PARTS: dict[str, Any] = {
    "memory": _memory,
    "density": _density,
    "pixels": _pixels,
    "image": _image,
    "energy": _energy,
}
