"""The settings of a fine-tuning, checked, and how finetuning.json stores them."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from openjepa._version import __version__
from openjepa.config import seconds
from openjepa.errors import UsageError, option, shown, unknown
from openjepa.evaluation.finetuning.objective import Kind
from openjepa.evaluation.finetuning.targets import Target
from openjepa.files import usage_error, write_json
from openjepa.interop.classifier import MOST_CLASSES
from openjepa.runs.settings import check_version
from openjepa.safety.ranges import COUNT, NONE_OR_MORE, PART, PROPER_PART, Range
from openjepa.safety.schema import Json, Name, Schema, Text, read_json

WEIGHTS = ("none", "balanced")
TUNING = "finetuning.json"  # config.json is that of a run of pretrain
AGAIN = "give --out another name to start again"
MAX_BYTES = 2**26
SMOOTHING = 0.1  # of classes, where it is not given
RANGES = {
    "epochs": Range(0, 10**6, above=True),
    "batch_size": COUNT,
    "lr": Range(0, 10, above=True),
    "weight_decay": NONE_OR_MORE,
    "layer_decay": Range(0, 1, above=True),
    "warmup": PART,
    "label_smoothing": PROPER_PART,
    "mixup": Range(0, 100),
    "freeze": Range(0, 1000),
    "patience": Range(0, 10**6),
    "seed": Range(-(2**63), 2**63 - 1),
}
WHOLE = ("batch_size", "freeze", "patience", "seed")


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """What shapes a fine-tuning, by the names of the options of `openjepa finetune`. Building one checks it.

    Raises UsageError, which says what was given and what is allowed.
    """

    labels: tuple[str, ...] = ()
    regression: bool = False
    epochs: float | None = None
    time: str | None = None
    batch_size: int = 64
    lr: float = 1e-3
    weight_decay: float = 0.05
    layer_decay: float = 0.75
    warmup: float = 0.1
    label_smoothing: float | None = None
    class_weights: str = "none"
    mixup: float = 0.0
    freeze: int = 0
    flip: bool = False
    crop_scale: tuple[float, float] = (0.6, 1.0)
    patience: int = 10
    seed: int = 0
    precision: str = "auto"

    def __post_init__(self) -> None:
        for name, allowed in RANGES.items():
            value = getattr(self, name)
            kind = int if name in WHOLE else int | float
            if value is not None and (isinstance(value, bool) or not isinstance(value, kind) or value not in allowed):
                whole = "a whole number" if name in WHOLE else "a number"
                raise UsageError(f"{option(name)} {shown(value)} is not possible: give {whole} {allowed}")
        if self.class_weights not in WEIGHTS:
            raise UsageError(unknown("--class-weights", self.class_weights, WEIGHTS))
        scale = self.crop_scale
        if not isinstance(scale, tuple | list) or len(scale) != 2 or not 0 < scale[0] <= scale[1] <= 1:
            raise UsageError(f"--crop-scale {shown(scale)} is not possible: give two fractions, the smaller first")
        if self.time is not None:
            seconds(str(self.time))

    def check_target(self, target: Target) -> None:
        """Raise UsageError for a setting that means nothing for what is learnt."""
        numbers = target.kind is Kind.NUMBERS
        for name, given in (("label_smoothing", self.label_smoothing), ("class_weights", self.class_weights != "none")):
            if numbers and given:
                raise UsageError(f"{option(name)} is for classes, and {target.name} is a number: leave it out")

    def smoothing_for(self, kind: Kind) -> float:
        if self.label_smoothing is not None:
            return self.label_smoothing
        return SMOOTHING if kind is Kind.CLASS else 0.0


class StoredTarget(Schema):
    kind: Kind
    labels: Annotated[list[Name], Field(min_length=1, max_length=1000)]
    outputs: Annotated[list[Name], Field(min_length=1, max_length=MOST_CLASSES)]


class StoredTuning(Schema):
    """What finetuning.json holds.

    settings     the fields of `Tuning`, its precision resolved
    model, data, validation, test  as they were given
    model_hash   of the weights that it started from
    paths        hash of the names of the images to learn from and to validate on
    steps, every the length, and the steps between two validations
    """

    settings: dict[Name, Json]
    model: Text
    model_hash: Name
    data: Text
    validation: Text | None
    paths: Name
    steps: Annotated[int, Field(ge=1, le=10**12)]
    every: Annotated[int, Field(ge=1, le=10**12)]
    target: StoredTarget
    openjepa_version: Name


def save_tuning(out: Path, stored: StoredTuning) -> None:
    """Write finetuning.json. Raises UsageError where it cannot be written."""
    with usage_error(out):
        write_json(out / TUNING, {**stored.model_dump(mode="json"), "openjepa_version": __version__})


def read_tuning(out: Path) -> StoredTuning:
    """What finetuning.json holds. Raises UsageError if it is missing, damaged, or of a newer version."""
    path = out / TUNING
    if not path.is_file():
        raise UsageError(f"{out} holds no fine-tuning to resume: leave out --resume to start one")
    stored = read_json(path, StoredTuning, AGAIN, MAX_BYTES)
    check_version(path, stored.openjepa_version)
    return stored


def stored_values(tuning: Tuning) -> dict[str, Any]:
    """Settings as JSON keeps them."""
    values = dataclasses.asdict(tuning)
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def check_same(out: Path, stored: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Raise UsageError where a command that resumes gives another value than the one that started the run."""
    for name, value in given.items():
        theirs = stored.get(name)
        if theirs != value and (name, value) != ("precision", "auto"):
            was, now = ("nothing" if each in (None, []) else shown(each) for each in (theirs, value))
            raise UsageError(f"{out} was started with {option(name)} {was}, not {now}: give the same to resume")
