"""The settings of a run for the rooms above: from a recipe, or as config.json stores them."""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from openjepa._version import __version__
from openjepa.config import FIELDS, MACHINE, Config, build_config, normal, seconds, size_in_words
from openjepa.data.decoding.pixel_format import PixelFormat
from openjepa.data.summary import Summary
from openjepa.device import PRECISIONS, choose_device, choose_precision
from openjepa.errors import UsageError, option, shown
from openjepa.files import write_json
from openjepa.interop.foreign.artifact import StoredForeign
from openjepa.interop.weights.shapes import (
    MOST_CHANNELS,
    EncoderShape,
    Mean,
    Origin,
    PredictorShape,
    Std,
    StoredPixelFormat,
    StoredTeacher,
)
from openjepa.recipe_settings import recipe
from openjepa.renamed import current_names
from openjepa.runs.migrations import SCHEMA_VERSION, migrated, migrated_settings
from openjepa.runs.planning.own_classes import StoredMethod, StoredModel, know_stored
from openjepa.runs.planning.unused_settings import check_settings
from openjepa.safety.schema import Count, Fraction, Json, Name, PositiveInt, Schema, Text, checked, read_json, shortened

__all__ = [
    "MACHINE",
    "Config",
    "StoredRun",
    "normal",
    "option",
    "read_config",
    "recipe_config",
    "resolve_precision",
    "save_config",
    "seconds",
    "shown",
    "size_in_words",
    "stored_config",
    "stored_settings",
]
CONFIG, MAX_BYTES = "config.json", 2**26  # which lists every image that could not be read
AGAIN = "give --out another name to start again"
Long = Annotated[str, Field(max_length=2**20)]
MOST_SEGMENTS = 200
Side = Annotated[int, Field(ge=1, le=2**20)]


class StoredSummary(Schema):
    """The fields of a `Summary`."""

    source: Text
    images: PositiveInt
    sizes: Annotated[list[tuple[Side, Side, PositiveInt]], Field(min_length=1)]
    modes: dict[Name, Count]
    classes: dict[Text, dict[Text, Count]]
    skipped: list[tuple[Long, Long]]
    duplicates: list[list[Long]]
    compared: Count
    read_as: StoredPixelFormat = StoredPixelFormat()
    changed: dict[Text, Count] = Field(default_factory=dict)
    paged: Count = 0
    looked_at: Count = 0


class ImageChange(Schema):
    """Images of a run that changed: hash of the names and number before, and how many are new and gone by name.

    The latter are None where the names before are not known any more.
    """

    paths_before: Name
    before: PositiveInt
    after: PositiveInt
    new: Count | None
    gone: Count | None
    data: Text


class Segment(Schema):
    """A part of a run from a step on: its length was changed, or its images were.

    steps_before, steps  the planned length of the run before and from here on
    """

    from_step: Count
    steps_before: PositiveInt
    steps: PositiveInt
    when: Name
    command: Long
    openjepa_version: Name
    images: ImageChange | None = None


class StoredProbe(Schema):
    """The images of the online probe: as given to pretrain, and the hash of their names."""

    data: Text
    paths: Name
    from_python: bool = False


class StoredNetworks(Schema):
    """Shapes that fit together."""

    encoder: EncoderShape
    predictor: PredictorShape

    @model_validator(mode="after")
    def _fit(self) -> Self:
        encoder, predictor = self.encoder, self.predictor
        if predictor.grid_size != tuple(side // encoder.patch_size for side in encoder.image_size):
            raise ValueError("predictor and encoder have other grids")
        if predictor.embed_dim != encoder.embed_dim:
            raise ValueError("predictor and encoder have another embed_dim")
        return self


class StoredRun(Schema):
    """What config.json holds.

    schema_version  of this layout (`runs.migrations`)
    settings   the fields of Config
    steps      the length of the whole run
    mean, std  of each channel
    data       the images as given to pretrain, `found` what was found in them, `paths` the hash of their names
    from_python  whether the images were given as a Python object, of which `data` is the name
    recipe     the recipe that the user named
    segments   the parts of a run that was extended, or whose images changed; [] for a run as it was started
    monitored  the number of images that the monitors see
    probe      the images of the online probe as given to pretrain, and the hash of their names
    own_method, own_model  the classes that a program gave in place of names
    foreign    the architecture of the encoder, where it is a network of another library
    source, networks, frozen  of a run that started from --init: its weights, the shapes of its networks, and the
               fraction of the run in which the context encoder stays as it is
    teacher    of a run with --teacher: its frozen target encoder
    """

    schema_version: PositiveInt
    settings: dict[Name, Json]
    steps: Annotated[int, Field(ge=1, le=10**12)]
    mean: Annotated[list[Mean], Field(min_length=1, max_length=MOST_CHANNELS)]
    std: Annotated[list[Std], Field(min_length=1, max_length=MOST_CHANNELS)]
    pixel_format: StoredPixelFormat = StoredPixelFormat()
    data: Text
    from_python: bool = False
    found: StoredSummary
    paths: Name
    command: Long
    openjepa_version: Name = "0"
    recipe: Name | None = None
    segments: Annotated[list[Segment], Field(max_length=MOST_SEGMENTS)]
    monitored: Annotated[int, Field(ge=1, le=2**20)]
    probe: StoredProbe | None
    frozen: Fraction = 0.0
    source: Origin | None = None
    networks: StoredNetworks | None = None
    teacher: StoredTeacher | None = None
    own_method: StoredMethod | None = None
    own_model: StoredModel | None = None
    foreign: StoredForeign | None = None

    @model_validator(mode="after")
    def _fit(self) -> Self:
        if not len(self.mean) == len(self.std) == self.pixel_format.channels:
            raise ValueError("mean and std are not those of as many channels as pixel_format has")
        if self.networks and self.networks.encoder.in_chans != self.pixel_format.channels:
            raise ValueError("networks and pixel_format have other channels")
        know_stored(self.own_method, self.own_model)
        if self.settings.get("init") and not self.networks and not self.foreign:
            raise ValueError("networks is missing, which a run with --init has")
        if self.settings.get("teacher") and not self.teacher:
            raise ValueError("teacher is missing, which a run with --teacher has")
        ends = [segment.steps for segment in self.segments]
        starts = [segment.from_step for segment in self.segments]
        if starts != sorted(starts) or [segment.steps_before for segment in self.segments[1:]] != ends[:-1]:
            raise ValueError("segments do not follow each other")
        if ends[-1:] not in ([], [self.steps]):
            raise ValueError("the last of the segments does not end at steps")
        return self

    @property
    def summary(self) -> Summary:
        return Summary(**self.found.model_dump())

    @property
    def read_as(self) -> PixelFormat:
        """How the images are read."""
        return PixelFormat(**self.pixel_format.model_dump())


def save_config(path: Path, config: Config, resolved: Mapping[str, Any]) -> None:
    """Store the settings, and beside them what was resolved from data and machine, whole or not at all."""
    write_json(path, {"schema_version": SCHEMA_VERSION, "settings": dataclasses.asdict(config), **resolved})


def read_config(path: Path, what_to_do: str = AGAIN) -> tuple[Config, StoredRun]:
    """The settings of a stored run and what was resolved with them.

    A file of an earlier version is read as `runs.migrations` says. Raises UsageError, which ends with `what_to_do`, if
    the file is damaged, and where a newer version wrote it.
    """
    content: dict[str, Any] = read_json(path, dict[str, Json], what_to_do, MAX_BYTES)
    version = str(content.get("openjepa_version", "0"))
    settings = content.get("settings")
    if isinstance(settings, dict):
        content = migrated({**content, "settings": settings})
        check_known(path, content["settings"], version)
    check_version(path, version)
    stored = checked(StoredRun, content, str(path), what_to_do)
    if stored.schema_version > SCHEMA_VERSION:
        raise UsageError(
            f"{path} has the layout {stored.schema_version} of openjepa {shortened(version)}, and this one "
            f"({__version__}) knows {SCHEMA_VERSION}: upgrade openjepa"
        )
    config = stored_config(stored.settings, path, what_to_do)
    if stored.networks and stored.networks.predictor.grid_size != config.grid_size:
        raise UsageError(f"{path} is damaged: networks have another grid than the settings: {what_to_do}")
    if stored.foreign and stored.foreign.image_size != config.size:
        raise UsageError(f"{path} is damaged: foreign has another image size than the settings: {what_to_do}")
    return config, stored


def check_known(path: Path, settings: Mapping[str, Any], written_by: str) -> None:
    """Raise UsageError for a setting that this version does not know."""
    for name in settings.keys() - FIELDS.keys():
        cure = "upgrade openjepa" if written_by != __version__ else "remove it, or use the build that wrote it"
        raise UsageError(
            f"{path} has the unknown setting {shortened(name)}, written by openjepa {shortened(written_by)}: {cure}"
        )


def check_version(path: Path, written_by: str) -> None:
    """Raise UsageError if a newer version than this one wrote a file."""
    theirs, ours = ([int(part) for part in re.findall(r"\d{1,9}", v)[:3]] for v in (written_by, __version__))
    if theirs > ours:
        raise UsageError(
            f"{path} was written by openjepa {shortened(written_by)}, which is newer than this one ({__version__}): "
            "upgrade openjepa"
        )


def recipe_config(name: str, given: Mapping[str, Any], **fixed: Any) -> Config:
    """A recipe with the settings that the user gave and those that are `fixed`, its precision resolved.

    Raises UsageError for a setting that is not possible or has no effect.
    """
    config = build_config(recipe(name, dict(given)), {**given, **fixed})
    check_settings(config, dict(given))
    return resolve_precision(config)


def resolve_precision(config: Config) -> Config:
    """The config with "auto" resolved, so that a resumed run computes as before."""
    precision = choose_precision(config.precision, choose_device(config.device))
    return dataclasses.replace(config, precision=next(name for name, dtype in PRECISIONS.items() if dtype == precision))


def stored_settings(values: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Settings from the JSON file at `path`, under their current names; raises UsageError for an unknown name."""
    settings = current_names(dict(values))
    check_known(path, settings, __version__)
    return {name: normal(name, value) for name, value in settings.items()}


def stored_config(values: Mapping[str, Any], path: Path, what_to_do: str = AGAIN) -> Config:
    """The Config of settings from the JSON file at `path`; raises UsageError where they are none."""
    settings = stored_settings(migrated_settings(values), path)
    try:
        return Config(**settings)
    except UsageError as error:
        raise UsageError(f"{path} is damaged: {error}: {what_to_do}") from error
