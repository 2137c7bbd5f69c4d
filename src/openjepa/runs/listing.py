"""The runs below a folder: how long each is, how it stands, and the settings in which they differ."""

import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from openjepa.config import LENGTH, MACHINE
from openjepa.errors import UsageError, option, shown
from openjepa.files.lock import is_locked
from openjepa.runs.checkpoints import CHECKPOINTS, is_run_folder
from openjepa.runs.finetuning.settings import TUNING
from openjepa.runs.folder import encoder_step
from openjepa.runs.settings import CONFIG, Config, StoredRun, read_config
from openjepa.training.checkpoint import checkpoint_steps
from openjepa.training.monitoring.metrics_log import LOG, read_metrics

START = 4096  # bytes
DEPTH = 6  # levels of folders below the one that is asked for
MEASURES = ("rank", "knn", "linear")
COLUMNS = ("run", "status", "done", "steps", "images", "verdict", *MEASURES, "segments", "data", "settings", "problem")
LOOK = "repair it, or name another folder"
Row = dict[str, Any]


def find_runs(folder: Path) -> list[Row]:
    """A row for each run in or below a folder, by its name, and one for each folder directly in it that holds none.

    run       the folder, relative to `folder`
    status    training (its folder is locked), finished, stopped, damaged, "fine-tuning" or "no run"
    done, steps, images, segments  steps taken and planned; images; how often length or images were changed
    verdict, rank, knn, linear  as last logged, fractions
    data      the images as given to pretrain
    settings  those that differ between these runs, by name
    problem   what is wrong with a damaged one

    What does not apply is None. Raises UsageError where `folder` is none.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder: give one that holds runs")
    found = [(path, _read(path)) for path in _run_folders(folder)]
    configs = {path: content[0] for path, content in found if not isinstance(content, str)}
    differ = differing(list(configs.values()))
    rows = [
        _row(path.relative_to(folder), status="damaged", problem=content)
        if isinstance(content, str)
        else _run_row(folder, path, *content, differ)
        for path, content in found
    ]
    return sorted([*rows, *_foreign(folder, [path for path, _ in found])], key=lambda row: row["run"])


def differing(configs: Sequence[Config]) -> list[str]:
    """The settings that are not the same in all of some runs, without those of the machine and of the length."""
    settings = [dataclasses.asdict(config) for config in configs]
    names = [name for name in (settings[0] if settings else ()) if name not in (*MACHINE, *LENGTH, "precision")]
    return [name for name in names if any(each[name] != settings[0][name] for each in settings)]


def settings_in_words(row: Row) -> str:
    """The settings of a row as options: --method mae --lr 0.001."""
    return " ".join(f"{option(name)} {shown(value)}" for name, value in (row["settings"] or {}).items())


def _run_folders(folder: Path) -> Iterator[Path]:
    """The folders of runs in or below a folder; nothing is sought below a run."""
    top = len(folder.parts)
    for name, below, _ in os.walk(folder):
        path = Path(name)
        if is_run := _is_run(path):
            yield path
        if is_run or len(path.parts) - top >= DEPTH:
            below.clear()
        below[:] = sorted(each for each in below if not each.startswith("."))


def _is_run(path: Path) -> bool:
    """Whether a folder is one of a run: other libraries have a config.json too, without settings."""
    if not is_run_folder(path):
        return False
    if (path / CHECKPOINTS).is_dir() or (path / LOG).exists():
        return True
    try:
        with (path / CONFIG).open("rb") as file:
            return b'"settings"' in file.read(START)
    except OSError:
        return True


def _foreign(folder: Path, runs: Sequence[Path]) -> list[Row]:
    """A row for each folder directly in `folder` that neither is nor holds a run."""
    if folder in runs:
        return []
    holding = {path.relative_to(folder).parts[0] for path in runs}
    names = (each.name for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))
    return [
        _row(Path(name), status="fine-tuning" if (folder / name / TUNING).is_file() else "no run")
        for name in names
        if name not in holding
    ]


def _read(path: Path) -> tuple[Config, StoredRun] | str:
    """What config.json of a run holds, or what is wrong with it."""
    try:
        return read_config(path / CONFIG, LOOK)
    except (UsageError, OSError) as error:
        return str(error)


def _run_row(folder: Path, path: Path, config: Config, stored: StoredRun, differ: Sequence[str]) -> Row:
    try:
        records, problem = read_metrics(path), None
    except (UsageError, OSError) as error:
        records, problem = [], str(error)
    last: Row = {}
    for record in records:
        last |= record
    done = max([last.get("step", 0), *checkpoint_steps(path / CHECKPOINTS)])
    finished = encoder_step(path) == stored.steps
    return _row(
        path.relative_to(folder),
        status="training" if is_locked(path) else "damaged" if problem else "finished" if finished else "stopped",
        done=min(done, stored.steps),
        steps=stored.steps,
        images=stored.found.images,
        verdict=last.get("status"),
        **{name: last.get(name) for name in MEASURES},
        segments=len(stored.segments),
        data=stored.data,
        settings={name: getattr(config, name) for name in differ},
        problem=problem,
    )


def _row(path: Path, **values: Any) -> Row:
    return dict.fromkeys(COLUMNS) | {"run": str(path)} | values
