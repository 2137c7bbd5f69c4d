"""What `evaluate` and `demo` share: open the models, measure them one after another, show the table."""

import json
from pathlib import Path

from rich import box
from rich.markup import escape
from rich.table import Table

from openjepa._version import __version__
from openjepa.config import unknown
from openjepa.data.dataset import ImageDataset
from openjepa.errors import UsageError
from openjepa.evaluation.baselines import Pixels, untrained_like
from openjepa.evaluation.device import choose_device, choose_precision
from openjepa.evaluation.encoder import Encoder
from openjepa.evaluation.features import Model
from openjepa.evaluation.protocol import TASKS, check_labels, extract, measure, split_held_out
from openjepa.interop.models import is_folder, open_model
from openjepa.verbs.prepare import prepare_images
from openjepa.verbs.talk import console, counting, say

DEFAULT_SIZE = (32, 32)


def parse_tasks(text: str) -> tuple[str, ...]:
    """Task names from a comma-separated list; raises UsageError."""
    tasks = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in tasks:
        if name not in TASKS:
            raise UsageError(unknown("task", name, TASKS))
    if not tasks:
        raise UsageError(f"no task given: known are {', '.join(TASKS)}")
    return tasks


def open_models(names: list[str], device: str, precision: str) -> list[Model]:
    """The named models after the two baselines, which are of the first encoder's shape."""
    where = choose_device(device)
    dtype = choose_precision(precision, where)
    folders = {name: open_model(name, where, dtype, DEFAULT_SIZE) for name in names if is_folder(name)}
    size = next(iter(folders.values())).image_size if folders else DEFAULT_SIZE
    models = [folders.get(name) or open_model(name, where, dtype, size) for name in names]
    encoders = [model for model in models if isinstance(model, Encoder)]
    baselines: list[Model] = [] if "pixels" in names else [Pixels(encoders[0].image_size if encoders else size)]
    if encoders and not any(name.startswith("untrained:") for name in names):
        baselines.append(untrained_like(encoders[0]))
    return baselines + models


def open_split(data: str, test: str | None, seed: int, workers: int) -> tuple[ImageDataset, ImageDataset, str]:
    """Images to learn from, images to test on and the name of the latter; raises UsageError if labels are missing."""
    train, _ = prepare_images(data, workers)
    if test is None:
        check_labels(train, train)
        return *split_held_out(train, seed), f"a held-out fifth of {data} (seed {seed})"
    held_out, _ = prepare_images(test, workers)
    check_labels(train, held_out)
    return train, held_out, test


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
    say(f"training probes on {len(train):,} images of {about['train']}, testing on {len(test):,} of {about['test']}")
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
    """The table: a row a task, a column a model, each accuracy with its 95 % interval in percent."""
    models = list(dict.fromkeys(record["model"] for record in records))
    table = Table(box=box.SIMPLE_HEAD, title="accuracy in %, with 95 % interval", title_justify="left", title_style="")
    table.add_column("")
    for model in models:
        short = sum(Path(other).name == Path(model).name for other in models) == 1 and is_folder(model)
        table.add_column(escape(Path(model).name if short else model), justify="right")
    for task in dict.fromkeys(record["task"] for record in records):
        row = {record["model"]: record for record in records if record["task"] == task}
        table.add_row(task.replace(":", " "), *(percent(row[model], list(row.values())) for model in models))
    console.print(table)


def percent(record: dict, others: list[dict]) -> str:
    """Bold where the interval lies above those of all other models."""
    text = f"{100 * record['value']:.1f}  {100 * record['low']:.1f}-{100 * record['high']:.1f}"
    best = all(record["low"] > other["high"] for other in others if other is not record)
    return f"[bold]{text}[/bold]" if best and len(others) > 1 else text


def write_records(path: Path, records: list[dict]) -> None:
    """Write records as JSON; raises UsageError if the file cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(records, indent=2) + "\n")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error}") from error
