"""A run folder, read back: settings, log, results and encoder, and the command that gives the same run again."""

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openjepa.config import FIELDS, Config, build_config, option, read_config
from openjepa.data.decoding.pixel_format import RGB, PixelFormat, stored_pixel_format
from openjepa.device import choose_device, choose_precision
from openjepa.encoder.encoder import Encoder
from openjepa.errors import UsageError
from openjepa.interop.load import load_encoder
from openjepa.masking.settings import MaskSettings
from openjepa.recipes import recipe
from openjepa.runs.images import mask_settings
from openjepa.runs.unused_settings import without_effect
from openjepa.training.monitoring.metrics_log import read_metrics

RUNS = "give a folder that openjepa pretrain or openjepa demo wrote"
LENGTH = ("time", "epochs", "steps")
RESOLVED = {"steps", "data", "found", "command"}
RECORD = {"model", "task", "value", "low", "high", "protocol"}


@dataclass(frozen=True)
class Story:
    """A run folder, read: `resolved` is what config.json holds beside the settings; `encoder` is None until the end."""

    folder: Path
    config: Config
    masks: MaskSettings
    resolved: dict[str, Any]
    records: list[dict]
    measured: list[dict]
    encoder: Encoder | None

    @property
    def name(self) -> str:
        return self.folder.resolve().name

    @property
    def pixel_format(self) -> PixelFormat:
        return stored_pixel_format(self.resolved) or RGB

    @property
    def done(self) -> int:
        return self.records[-1]["step"] if self.records else 0


def read_story(folder: Path) -> Story:
    """What a run folder holds; raises UsageError if it is no run or a file of it is damaged."""
    if not folder.exists():
        raise UsageError(f"{folder} does not exist: {RUNS}")
    config, resolved = _read_config(folder)
    device = choose_device()
    finished = (folder / "encoder").is_dir()
    encoder = load_encoder(folder, device, choose_precision("auto", device)) if finished else None
    logged, measured = read_metrics(folder), _read_measured(folder)
    return Story(folder, config, mask_settings(config), resolved, logged, measured, encoder)


def _read_config(folder: Path) -> tuple[Config, dict[str, Any]]:
    try:
        config, resolved = read_config(folder / "config.json")
    except UsageError as error:
        raise UsageError(f"{folder} is no run, or its config.json is damaged: {RUNS}") from error
    if missing := RESOLVED - resolved.keys():
        raise UsageError(f"{folder / 'config.json'} is damaged, it lacks {', '.join(sorted(missing))}: {RUNS}")
    return config, resolved


def _read_measured(folder: Path) -> list[dict]:
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


def training_seconds(records: list[dict], batch_size: int) -> float:
    """Time spent in steps, from the speeds that were logged."""
    timed = [record for record in records if "images_per_second" in record]
    starts = [0, *(record["step"] for record in timed)]
    spans = ((r["step"] - start) / r["images_per_second"] for start, r in zip(starts, timed, strict=False))
    return batch_size * sum(spans)


def repeat_command(story: Story) -> str:
    """The command that gives the same run: the steps that the length came to, and what the recipe would not set so."""
    about = {"method": story.config.method, "model": story.config.model}
    usual = build_config(recipe("laptop", about), {})
    idle = without_effect(story.config)
    words = ["openjepa", "pretrain", story.resolved["data"], "--out", f"{story.name}-again", "--recipe", "laptop"]
    words += ["--steps", str(story.resolved["steps"])]
    for name in FIELDS:
        value = getattr(story.config, name) if name != "masks" else story.masks.strategy
        if value is True:
            words.append(option(name))
        elif value != getattr(usual, name) and name not in {*LENGTH, *idle}:
            words += [option(name), *map(str, value if isinstance(value, tuple) else [value])]
    return shlex.join(words)
