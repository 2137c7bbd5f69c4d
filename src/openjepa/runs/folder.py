"""Read a run folder back: settings, log, results and encoder, and the command that repeats the run."""

import dataclasses
import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openjepa.config import FIELDS, Config, build_config, read_config
from openjepa.data.decoding.pixel_format import RGB, PixelFormat, stored_pixel_format
from openjepa.data.summary import Summary
from openjepa.device import choose_device, choose_precision
from openjepa.encoder.encoder import Encoder
from openjepa.errors import UsageError
from openjepa.interop.load import load_encoder
from openjepa.masking.settings import MaskSettings
from openjepa.recipe_settings import recipe
from openjepa.runs.command_line import option_words, setting_in_words
from openjepa.runs.images import mask_settings
from openjepa.runs.unused_settings import without_effect
from openjepa.training.monitoring.metrics_log import read_metrics

RUNS = "give a folder that openjepa pretrain or openjepa demo wrote"
LENGTH = ("time", "epochs", "steps")
STORED = {"steps", "data", "found", "command"}  # what config.json must hold beside the settings
RECORD = {"model", "task", "value", "low", "high", "protocol"}


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
    images        what was found in them
    pixel_format  how they are read
    steps         the length of the whole run
    command       the command line that started it
    records       of metrics.jsonl
    results       records of evaluation.json; empty before `openjepa evaluate`
    encoder       None before the run has finished
    """

    path: Path
    config: Config
    masks: MaskSettings | None
    data: str
    images: Summary
    pixel_format: PixelFormat
    steps: int
    command: str
    records: list[dict[str, Any]]
    results: list[dict[str, Any]]
    encoder: Encoder | None

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
        words = ["openjepa", "pretrain", self.data, "--out", f"{self.name}-again", "--recipe", "laptop"]
        return shlex.join([*words, "--steps", str(self.steps), *option_words(differ)])


def read_run_folder(folder: Path) -> RunFolder:
    """Read a run folder; raises UsageError if it is no run or one of its files is damaged."""
    if not folder.exists():
        raise UsageError(f"{folder} does not exist: {RUNS}")
    config, stored = _read_config(folder)
    try:
        images = Summary(**stored["found"])
    except TypeError as error:
        raise UsageError(f"{folder / 'config.json'} is damaged ({error}): {RUNS}") from error
    return RunFolder(
        path=folder,
        config=config,
        masks=mask_settings(config),
        data=stored["data"],
        images=images,
        pixel_format=stored_pixel_format(stored) or RGB,
        steps=stored["steps"],
        command=stored["command"],
        records=read_metrics(folder),
        results=_read_results(folder),
        encoder=_read_encoder(folder, config),
    )


def _read_config(folder: Path) -> tuple[Config, dict[str, Any]]:
    try:
        config, stored = read_config(folder / "config.json")
    except UsageError as error:
        raise UsageError(f"{folder} is no run, or its config.json is damaged: {RUNS}") from error
    if missing := STORED - stored.keys():
        raise UsageError(f"{folder / 'config.json'} is damaged, it lacks {', '.join(sorted(missing))}: {RUNS}")
    return config, stored


def _read_encoder(folder: Path, config: Config) -> Encoder | None:
    """The encoder of a finished run, on the CPU if the run was asked to use it, else on the best device there is."""
    if not (folder / "encoder").is_dir():
        return None
    device = choose_device("cpu" if config.device == "cpu" else "auto")
    return load_encoder(folder, device, choose_precision("auto", device))


def _read_results(folder: Path) -> list[dict[str, Any]]:
    """The records of evaluation.json, this run by its folder's name; [] without the file, UsageError if damaged."""
    path = folder / "evaluation.json"
    if not path.exists():
        return []
    try:
        records = json.loads(path.read_text())
        complete = all(r.keys() >= RECORD and r["protocol"].keys() >= {"test", "test_images"} for r in records)
    except (OSError, ValueError, AttributeError, TypeError):
        complete = False
    if not complete:
        raise UsageError(f"{path} is damaged: write it again with openjepa evaluate {folder} DATA --json {path}")
    here = folder.resolve()
    return [r | {"model": here.name} if Path(r["model"]).resolve() == here else r for r in records]


def training_seconds(records: list[dict[str, Any]], batch_size: int) -> float:
    """Time spent in training steps, computed from the logged speeds."""
    timed = [record for record in records if "images_per_second" in record]
    starts = [0, *(record["step"] for record in timed)]
    spans = ((r["step"] - start) / r["images_per_second"] for start, r in zip(starts, timed, strict=False))
    return batch_size * sum(spans)
