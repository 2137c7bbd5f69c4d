"""What `evaluate` and `demo` share: open the models, measure them one after another, show the table."""

import json
from pathlib import Path

import torch
from rich import box
from rich.markup import escape
from rich.table import Table

from openjepa._version import __version__
from openjepa.config import unknown
from openjepa.console import console, counting, log
from openjepa.data.dataset import ImageDataset
from openjepa.data.decoding.pixel_format import PixelFormat
from openjepa.device import choose_device, choose_precision
from openjepa.encoder.baselines import pixels_beside, untrained_like
from openjepa.encoder.encoder import Encoder
from openjepa.encoder.features import Model
from openjepa.errors import UsageError
from openjepa.evaluation.protocol import extract, measure
from openjepa.evaluation.results import above, in_units
from openjepa.evaluation.tasks.registry import TASKS
from openjepa.files import write_output, write_rows
from openjepa.interop.load import open_source
from openjepa.interop.open_model import is_folder, open_model
from openjepa.interop.source import WHICH
from openjepa.process_group import on_rank_zero

ENCODERS = ("target", "context", "both")
CONTEXT = " (context encoder)"
UNITS = {"R2": "R2", "RMSE": "RMSE", "MAE": "mean error", "mIoU": "mIoU", "skill": "skill"}


def parse_tasks(text: str) -> tuple[str, ...]:
    """Task names from a comma-separated list; raises UsageError."""
    tasks = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in tasks:
        if name not in TASKS:
            raise UsageError(unknown("task", name, TASKS))
    if not tasks:
        raise UsageError(f"no task given: known are {', '.join(TASKS)}")
    return tasks


def as_words(models: list[str] | str | Path, data: str | Path, test: str | Path | None) -> tuple[list[str], str, str]:
    """What evaluate was given in Python as the words that the command line gives it."""
    names = [str(models)] if isinstance(models, str | Path) else [str(name) for name in models]
    return list(dict.fromkeys(names)), str(data), None if test is None else str(test)


def check_epochs(epochs: float) -> None:
    if not epochs > 0:
        raise UsageError(f"--epochs {epochs} is not possible: give more than 0")


def open_models(names: list[str], device: str, precision: str, encoder: str = "target") -> list[Model]:
    """The named models after the two baselines, which are of the first encoder's shape.

    `encoder`: target, context, or both, for models that have both.
    """
    if encoder not in ENCODERS:
        raise UsageError(unknown("--encoder", encoder, ENCODERS))
    where = choose_device(device)
    dtype = on_rank_zero(lambda: choose_precision(precision, where))  # timed, so that processes might differ
    folders = {name: _encoders(name, where, dtype, encoder) for name in names if is_folder(name)}
    size = next(iter(folders.values()))[0].image_size if folders else None
    models = [model for name in names for model in folders.get(name) or [open_model(name, where, dtype, size)]]
    encoders = [model for model in models if isinstance(model, Encoder)]
    baselines = [] if "pixels" in names else [_pixels(encoders, open_model("pixels", where, dtype, size))]
    if encoders and not any(name.startswith("untrained:") for name in names):
        baselines.append(untrained_like(encoders[0]))
    return baselines + models


def _pixels(encoders: list[Encoder], plain: Model) -> Model:
    first = encoders[0] if encoders else None
    return pixels_beside(first.image_size, first.pixel_format, first.mean, first.std) if first else plain


def pixel_format_of(models: list[Model]) -> PixelFormat | None:
    """How the first encoder reads images; None without one."""
    return next((model.pixel_format for model in models if isinstance(model, Encoder)), None)


def _encoders(name: str, where: torch.device, dtype: torch.dtype, encoder: str) -> list[Encoder]:
    """The encoders asked for, or the only one that a source holds; what a person should know of it is said."""
    source = open_source(name)
    asked = WHICH if encoder == "both" else (encoder,)
    held = dict.fromkeys(source.held(which) for which in asked)
    log(*source.remarks("target" if encoder == "both" else encoder))
    return [
        Encoder(
            source.encoder(which),
            source.mean,
            source.std,
            name + CONTEXT if which == "context" and source.target else name,
            where,
            dtype,
            source.pixel_format,
        )
        for which in held
    ]


def is_run(name: str) -> bool:
    return (Path(name) / "config.json").is_file() and (Path(name) / "encoder").is_dir()


def measure_models(
    models: list[Model],
    train: ImageDataset,
    test: ImageDataset,
    tasks: tuple[str, ...],
    seed: int,
    workers: int,
    about: dict[str, str],
) -> list[dict]:
    """Records of every model on every label of the data; `about` joins each protocol."""
    log(f"training probes on {len(train):,} images of {about['train']}, testing on {len(test):,} of {about['test']}")
    records = []
    for model in models:
        for record in _measure(model, train, test, tasks, seed, workers):
            record["protocol"] |= about | {"openjepa_version": __version__}
            records.append({"model": model.name, "data": about["train"]} | record)
    return records


def _measure(
    model: Model, train: ImageDataset, test: ImageDataset, tasks: tuple[str, ...], seed: int, workers: int
) -> list[dict]:
    with counting(f"features of {model.name}") as progress:
        features = [extract(model, part, train, workers, progress) for part in (train, test)]
    with console.status(f"probing {model.name}"):
        return measure(*features, tasks, seed)


def show_records(records: list[dict]) -> None:
    """The table: a row a task, a column a model, each number with its 95 % interval, in percent unless it is named."""
    models = list(dict.fromkeys(record["model"] for record in records))
    title = "accuracy in %, with 95 % interval"
    if {record["metric"] for record in records} != {"accuracy"}:
        title = "in %, with 95 % interval; accuracy unless another measure is named"
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="")
    table.add_column("")
    for model in models:
        short = sum(Path(other).name == Path(model).name for other in models) == 1 and is_folder(model)
        table.add_column(escape(Path(model).name if short else model), justify="right")
    for task in dict.fromkeys(record["task"] for record in records):
        row = {record["model"]: record for record in records if record["task"] == task}
        metric = next(iter(row.values()))["metric"]
        named = task.replace(":", " ") + (f" ({UNITS[metric]})" if metric in UNITS else "")
        cells = (percent(row[model], list(row.values())) if model in row else "–" for model in models)
        table.add_row(named, *cells)
    console.print(table)


def percent(record: dict, others: list[dict]) -> str:
    """Bold where the interval lies on the better side of those of all other models."""
    value, low, high = in_units(record)
    text = f"{value}  {low}-{high}"
    best = all(above(record, other) for other in others if other is not record)
    return f"[bold]{text}[/bold]" if best and len(others) > 1 else text


def write_records(path: Path, records: list[dict]) -> None:
    """Write records as JSON; raises UsageError if the file cannot be written."""
    write_output(path, json.dumps(records, indent=2) + "\n")


def write_csv(path: Path, records: list[dict]) -> None:
    """Write the numbers as a table, a row a model and task; raises UsageError if the file cannot be written."""
    keys, settings = (
        ("model", "data", "task", "metric", "value", "low", "high"),
        ("train_images", "test_images", "test"),
    )
    rows = ([r[key] for key in keys] + [r["protocol"].get(key, "") for key in (*settings, "interval")] for r in records)
    write_rows(path, [*keys, *settings, "interval"], rows)
