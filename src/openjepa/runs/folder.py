"""Read a run folder back: settings, log, results and encoder, and the command that repeats the run."""

import dataclasses
import os
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field
from torch import nn

from openjepa.config import FIELDS, LENGTH, Config, build_config
from openjepa.data.decoding.pixel_format import PixelFormat
from openjepa.data.summary import Summary
from openjepa.device import choose_device, choose_precision
from openjepa.encoder.encoder import Encoder
from openjepa.errors import UsageError
from openjepa.interop.weights.shapes import StoredTeacher
from openjepa.masking.samplers import targets_in_words
from openjepa.masking.settings import MaskSettings
from openjepa.own import names_own
from openjepa.recipe_settings import recipe
from openjepa.runs.checkpoints import (
    Step,
    file_at,
    find_step,
    is_run_folder,
    label_at,
    load_encoder_at,
    own_class_of_run,
)
from openjepa.runs.command_line import option_words, python_call, setting_in_words
from openjepa.runs.images import mask_settings
from openjepa.runs.planning.unused_settings import without_effect
from openjepa.runs.settings import CONFIG, Segment, read_config
from openjepa.safety.schema import Json, Name, PositiveInt, Schema, Text, read_json
from openjepa.training.monitoring.metrics_log import read_metrics

RUNS = "give a folder that openjepa pretrain or openjepa demo wrote"
EVALUATION = "evaluation.json"
MAX_BYTES = 2**26  # of evaluation.json


class Protocol(Schema):
    """How a number was measured; whatever else it holds is shown."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[Name, Json]

    test: Text
    test_images: PositiveInt
    paired_difference_to: dict[Text, tuple[float, float, float]] = Field(default_factory=dict)


class Result(Schema):
    """A record of evaluation.json."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[Name, Json]

    model: Text
    task: Name
    metric: Name = "accuracy"
    value: float
    low: float
    high: float
    protocol: Protocol


class Exported(Schema):
    """What openjepa.json of a finished encoder says of its run."""

    step: PositiveInt | None = None


@dataclass(frozen=True)
class Setting:
    """A setting of a run as an option of the command line, with its value as text."""

    option: str
    value: str
    meaning: str
    panel: str
    changed: bool  # whether the value differs from the default


@dataclass(frozen=True)
class RunFolder:
    """The content of a run folder.

    path          the folder
    config, masks the settings of the run
    data          the images it was trained on, as given to pretrain
    from_python   whether they were given as a Python object, of which `data` is the name
    images        what was found in them
    pixel_format  how they are read
    steps         the length of the whole run
    command       the command line that started it
    records       of metrics.jsonl
    results       records of evaluation.json; empty before `openjepa evaluate`
    encoder       None before the run has finished
    segments      its parts after the first, where its length or its images were changed
    encoder_step  the step of the finished encoder, which an extended run keeps until its end; None if there is none
    probe         the images of the online probe as given, where they are not those of the run
    teacher       the frozen target encoder, where there was one
    own_class     the class of the network of a program, which has to be given to open its encoder; None for others
    step          of the checkpoint that `encoder`, `records` up to it and `results` are of; None for the run as it is
    """

    path: Path
    config: Config
    masks: MaskSettings | None
    data: str
    from_python: bool
    images: Summary
    pixel_format: PixelFormat
    steps: int
    command: str
    records: list[dict[str, Any]]
    results: list[dict[str, Any]]
    encoder: Encoder | None
    segments: list[Segment] = field(default_factory=list)
    encoder_step: int | None = None
    probe: str | None = None
    teacher: StoredTeacher | None = None
    own_class: str | None = None
    step: int | None = None

    @property
    def finished(self) -> bool:
        """Whether there is an encoder of the whole run."""
        return self.encoder_step == self.steps or (self.encoder is not None and self.encoder_step is None)

    @property
    def epochs(self) -> float:
        """Passes over the images in the whole run; where their number changed, those of its segments together."""
        changes = [segment for segment in self.segments if segment.images]
        ends = [*(segment.from_step for segment in changes), self.steps]
        counts = [*(segment.images.before for segment in changes if segment.images), self.images.images]
        starts = [0, *ends[:-1]]
        return sum(
            (end - start) * self.config.batch_size / count
            for start, end, count in zip(starts, ends, counts, strict=True)
        )

    @property
    def name(self) -> str:
        return self.path.resolve().name

    @property
    def done(self) -> int:
        """The last step that was logged."""
        return self.records[-1]["step"] if self.records else 0

    @property
    def started_with(self) -> str:
        """The command that started the run, without the folder of the program."""
        program, _, arguments = self.command.partition(" ")
        return f"{Path(program).name} {arguments}"

    @property
    def targets_in_words(self) -> str:
        """What an image's masks have for targets."""
        return targets_in_words(self.masks) if self.masks else "none"

    def settings(self) -> list[Setting]:
        """All settings, in the order of the command line's panels."""
        values = dataclasses.asdict(self.config)
        return [
            Setting(*setting_in_words(name, values[name]), spec.metadata["help"], spec.metadata["panel"], changed)
            for name, spec in FIELDS.items()
            for changed in [values[name] != spec.default]
        ]

    def repeat_command(self) -> str:
        """The command that gives the same run: its steps and image size, and settings that differ from the recipe's."""
        about = {"method": self.config.method, "model": self.config.model}
        usual = dataclasses.asdict(build_config(recipe("laptop", about), {}))
        mine = dataclasses.asdict(self.config) | {"masks": self.masks.strategy if self.masks else None}
        left_out = {*LENGTH, *without_effect(self.config)}
        differ = {
            n: v
            for n, v in mine.items()
            if v is not None and (v != usual[n] or n == "image_size") and n not in left_out
        }
        if self.from_python or names_own(self.config.method) or names_own(self.config.model):
            usual = {"out": f"{self.name}-again", "recipe": "laptop", "steps": self.steps}
            usual |= {"probe": self.probe} if self.probe else {}
            return python_call("pretrain", None if self.from_python else self.data, **usual, **differ)
        words = ["openjepa", "pretrain", self.data, "--out", f"{self.name}-again", "--recipe", "laptop"]
        words += ["--probe", self.probe] if self.probe else []
        return shlex.join([*words, "--steps", str(self.steps), *option_words(differ)])


def read_run_folder(
    run: str | os.PathLike[str], device: str = "auto", step: Step = None, network: nn.Module | None = None
) -> RunFolder:
    """Read a run folder, as of a `step` where one is given (`checkpoint_source` says which there are).

    `network` is for a run that trained one of a program: one of the same class, without which there is no encoder.

    Raises UsageError if it is no run or one of its files is damaged.

    The encoder is opened on the `device`; "auto" is the CPU for a run that was asked to use it, else the best there is.
    """
    folder = Path(run)
    check_run(folder)
    number = None if step is None else find_step(folder, step)
    config, stored = read_config(folder / CONFIG, RUNS)
    last = stored.steps if number is None else number
    return RunFolder(
        path=folder,
        config=config,
        masks=mask_settings(config),
        data=stored.data,
        from_python=stored.from_python,
        images=stored.summary,
        pixel_format=stored.read_as,
        steps=stored.steps,
        command=stored.command,
        records=[record for record in read_metrics(folder) if record["step"] <= last],
        results=_read_results(folder, number),
        teacher=stored.teacher,
        encoder=_read_encoder(folder, config, device, number, network),
        segments=[segment for segment in stored.segments if number is None or segment.from_step < number],
        encoder_step=encoder_step(folder),
        probe=stored.probe.data if stored.probe else None,
        own_class=own_class_of_run(folder),
        step=number,
    )


def check_run(folder: Path) -> None:
    """Raise UsageError if a folder holds no run."""
    if not folder.exists():
        raise UsageError(f"{folder} does not exist: {RUNS}")
    if not is_run_folder(folder):
        raise UsageError(f"{folder} is no run: {RUNS}")


def _read_encoder(
    folder: Path, config: Config, wanted: str, step: int | None, network: nn.Module | None
) -> Encoder | None:
    """The encoder of a finished run, or of a checkpoint."""
    lacks = network is None and own_class_of_run(folder)
    if lacks or (step is None and not (folder / "encoder").is_dir()):
        return None
    device = choose_device("cpu" if wanted == "auto" and config.device.startswith("cpu") else wanted)
    return load_encoder_at(str(folder), step, device, choose_precision("auto", device), network=network)


def encoder_step(folder: Path) -> int | None:
    """The step that the finished encoder of a run is of; None where there is none, or it does not say."""
    path = folder / "encoder" / "openjepa.json"
    try:
        return read_json(path, Exported, RUNS).step if path.is_file() else None
    except UsageError:
        return None


def _read_results(folder: Path, step: int | None) -> list[dict[str, Any]]:
    """The records of evaluation.json, this run by its folder's name; [] without the file, UsageError if damaged."""
    path = folder / file_at(EVALUATION, step)
    if not path.exists():
        return []
    again = f"write it again with openjepa evaluate {folder} DATA --json {path}"
    records = [record.model_dump() for record in read_json(path, list[Result], again, MAX_BYTES)]
    here = folder.resolve()
    at = label_at("", step)
    return [
        record | {"model": here.name} if _is_at(here, record["model"].removesuffix(at)) else record
        for record in records
    ]


def _is_at(folder: Path, name: str) -> bool:
    """Whether a model of that name is this folder."""
    try:
        return Path(name).resolve() == folder
    except (OSError, ValueError):
        return False


def training_seconds(records: list[dict[str, Any]], batch_size: int) -> float:
    """Time spent in training steps, computed from the logged speeds."""
    timed = [record for record in records if "images_per_second" in record]
    starts = [0, *(record["step"] for record in timed)]
    spans = ((r["step"] - start) / r["images_per_second"] for start, r in zip(starts, timed, strict=False))
    return batch_size * sum(spans)
