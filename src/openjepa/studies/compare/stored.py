"""What a comparison stores: compare.json, what was planned; trials.jsonl, a line for each run and model measured.

The scores of the single test images, from which intervals follow, are in answers.safetensors in each folder of trials.
"""

import json
import re
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field

from openjepa.errors import UsageError
from openjepa.evaluation.intervals import ratio
from openjepa.evaluation.results import Result, mean_of
from openjepa.evaluation.tasks.appearance import explained, skill
from openjepa.files import atomic_file
from openjepa.interop.weights.files import read_safetensors, save_tensors
from openjepa.runs.settings import AGAIN, check_version
from openjepa.safety.schema import Count, Json, Name, PositiveInt, Schema, Text, parse_json, read_json
from openjepa.training.monitoring.metrics_log import read_lines

FILE, TRIALS, ANSWERS, MAX_BYTES = "compare.json", "trials.jsonl", "answers.safetensors", 2**26
STATISTICS = {"R2": explained, "skill": skill}  # of several numbers an image; of the others the mean is taken
LARGEST = 1e30
Positive = Annotated[float, Field(gt=0, le=1e30)]
Measured = Annotated[float, Field(ge=-1e30, le=1e30)]
Settings = dict[Name, Json]


class StoredRequest(Schema):
    """The options of the command."""

    data: Text
    methods: Text
    budget: Name
    views: Name
    seeds: Annotated[int, Field(ge=1, le=1000)]
    labelled: Text | None
    beside: Annotated[list[Text], Field(max_length=100)]
    tasks: Name
    tune: Annotated[int, Field(ge=0, le=9)]
    recipe: Name
    given: Settings


class StoredPlan(Schema):
    """A contender: its steps, what one of them costs, and the precision in which all its runs compute."""

    method: Name
    views: Name | None
    precision: Name
    steps: PositiveInt
    batch_size: PositiveInt
    crops: PositiveInt
    step_seconds: Positive
    operations: PositiveInt


class StoredComparison(Schema):
    """What compare.json holds; `plans` by the names of the contenders, `paths` the hash of the images."""

    request: StoredRequest
    plans: Annotated[dict[Name, StoredPlan], Field(min_length=1)]
    paths: Name
    first_seed: Count
    openjepa_version: Name = "0"


class StoredTrial(Schema):
    """A line of trials.jsonl: a run, or a model that was only measured, which has no seed.

    Of a run that diverged `failed` says why, and there are no measurements.
    """

    name: Name
    seed: Count | None
    folder: Name
    seconds: Annotated[float, Field(ge=0, le=1e12)]
    steps: PositiveInt | None = None
    images: PositiveInt | None = None
    memory: Count | None = None
    monitors: dict[Name, Measured] | None = None
    untrained: dict[Name, Measured] | None = None
    train_images: dict[Name, PositiveInt] | None = None
    metrics: dict[Name, Name] | None = None
    failed: Text | None = None


def read_comparison(path: Path) -> StoredComparison:
    stored = read_json(path, StoredComparison, AGAIN, MAX_BYTES)
    check_version(path, stored.openjepa_version)
    return stored


def folder_name(name: str, seed: int | None) -> str:
    """The name of the folder of a trial."""
    plain = re.sub(r"[^A-Za-z0-9_.]+", "-", name)[-100:].lstrip(".")
    return plain if seed is None else f"{plain}-seed-{seed}"


def read_trials(folder: Path) -> list[StoredTrial]:
    """Finished trials; a line that a crash cut short is left out, and its trial runs again.

    Raises UsageError for a line that is JSON and not a trial.
    """
    path, found = folder / TRIALS, []
    for number, line in enumerate(read_lines(path), 1):
        try:
            json.loads(line)
        except (ValueError, RecursionError):
            continue
        trial = parse_json(line, StoredTrial, f"{path}, line {number}", AGAIN)
        if trial.folder != folder_name(trial.name, trial.seed):
            raise UsageError(f"{path}, line {number} is damaged: {trial.folder} is not the folder of it: {AGAIN}")
        found.append(trial)
    return found


def write_answers(folder: Path, results: list[Result]) -> dict[str, dict[str, Any]]:
    """Store the scores of the test images by task; gives how many images the probes learned from, and the measures.

    Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = {r.task: r.rows if r.metric in STATISTICS else r.rows[:, 0] for r in results}
    with atomic_file(folder / ANSWERS) as part:
        save_tensors(
            {task: torch.from_numpy(np.ascontiguousarray(scores)) for task, scores in rows.items()}, part, None
        )
    train_images = {result.task: int(result.protocol["train_images"]) for result in results}
    return {"train_images": train_images, "metrics": {result.task: result.metric for result in results}}


def read_answers(folder: Path, trial: StoredTrial) -> dict[str, Result]:
    """The results that were stored, by task. Raises UsageError where they are damaged."""
    path, found = folder / ANSWERS, {}
    tensors = read_safetensors(path, AGAIN) if trial.train_images else {}
    for task, images in (trial.train_images or {}).items():
        metric = (trial.metrics or {}).get(task, "accuracy")
        scores, statistic = tensors.get(task), STATISTICS.get(metric)
        numbers = 2 if statistic else 1
        if scores is None or scores.ndim != numbers or scores.dtype != torch.float64 or not scores.numel():
            raise UsageError(f"{path} is damaged: it has no scores of {task}: {AGAIN}")
        values = scores.numpy()
        whole = np.isfinite(values).all() and (statistic or (values.min() >= 0 and values.max() <= 1))
        whole = whole and np.abs(values).max() <= LARGEST
        if not whole or (statistic and values.shape[1] % (3 if metric == "skill" else 4)):
            raise UsageError(f"{path} is damaged: the scores of {task} are no fractions: {AGAIN}")
        rows = values if statistic else mean_of(values)
        found[task] = Result(task, metric, rows, {"train_images": images}, statistic or ratio)
    return found


def check_measured(folder: Path, trials: list[StoredTrial]) -> None:
    """Raise UsageError unless all that did not diverge were measured by the same tasks, each on as many images."""
    answers = [read_answers(folder / "trials" / trial.folder, trial) for trial in trials if not trial.failed]
    measured = [{task: len(result.rows) for task, result in results.items()} for results in answers]
    if not all(each and each == measured[0] for each in measured):
        raise UsageError(f"{folder / TRIALS} is damaged: its trials do not have the same measurements: {AGAIN}")


def add_trial(folder: Path, trial: StoredTrial) -> None:
    """Append a line for a trial, after a line that a crash cut short on a line of its own. Raises OSError."""
    path = folder / TRIALS
    content: dict[str, Any] = trial.model_dump(exclude_none=True) | {"seed": trial.seed}
    is_cut = path.is_file() and path.read_bytes()[-1:] not in (b"", b"\n")
    with path.open("a") as file:
        file.write("\n" * is_cut + json.dumps(content) + "\n")
