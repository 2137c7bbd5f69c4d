"""Start a fine-tuning or resume one: model, images, plan, training, results."""

import dataclasses
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from openjepa._version import __version__
from openjepa.config import seconds
from openjepa.console import TrainingDisplay, log
from openjepa.data.batches import Batches, load_batches
from openjepa.data.dataset import fingerprint
from openjepa.data.summary import counted
from openjepa.device import PRECISIONS
from openjepa.encoder.encoder import Encoder
from openjepa.encoder.feature_cache import model_hash
from openjepa.errors import UsageError
from openjepa.evaluation.finetuning.layers import blocks_of, is_transformer
from openjepa.evaluation.finetuning.objective import Kind, Objective, balanced_weights, units_of
from openjepa.evaluation.finetuning.scores import Scores, measure
from openjepa.evaluation.finetuning.tuner import Tuner, TuningPlan
from openjepa.files.temporary import remove_leftovers
from openjepa.runs.finetuning.images import Given, Parts, open_parts
from openjepa.runs.finetuning.run import Report, TuningRun
from openjepa.runs.finetuning.settings import (
    AGAIN,
    StoredTarget,
    StoredTuning,
    Tuning,
    check_same,
    read_tuning,
    save_tuning,
    stored_values,
)
from openjepa.runs.images import check_new_folder
from openjepa.runs.planning.memory import allocating
from openjepa.training.checkpoint import DamagedCheckpoint, checkpoint_steps
from openjepa.training.loop import Interrupted
from openjepa.training.timing import peak_memory, synchronise

LEAST_STEPS = 60  # the head starts at zero
LEAST_EVERY = 5
VALIDATIONS = 50  # at most, so that validating a large part often does not outweigh training
DEFAULT_EPOCHS = 30.0
WARM_UP, TIMED = 2, 5
SMALLER = "give a smaller --batch-size"


@dataclass(frozen=True)
class StartedTuning:
    """A fine-tuning in its folder, with what its results record of it."""

    run: TuningRun
    parts: Parts
    tuning: Tuning
    stored: StoredTuning
    given: Given

    def train(self, again: str) -> None:
        """Take all remaining steps with a progress display; `again` is the command that Ctrl-C prints to resume."""
        run = self.run
        display = TrainingDisplay(run.steps, run.done, run.batches.batch_size)
        try:
            with display, allocating(f"there is not enough memory for batches of {run.batches.batch_size}: {SMALLER}"):
                run.train(_shown_on(display, run.tuner.encoder.device))
        except Interrupted as stopped:
            log(f"{stopped}. Continue with: {again}")
            raise
        if run.done < run.steps:
            log(f"stopped after step {run.done:,}: no better for {run.patience} validations (--patience)")
        log(*run.load_best())


def _shown_on(display: TrainingDisplay, device: torch.device) -> Report:
    def show(record: dict, scores: Scores | None) -> None:
        display(record | {"memory": peak_memory(device)} | ({"note": scores.in_words()} if scores else {}))

    return show


def tunable(model: object, name: str) -> Encoder:
    """The model as an encoder whose network can be trained. Raises UsageError for any other."""
    if not isinstance(model, Encoder):
        raise UsageError(f"{name} has no network to train: give a run, an artifact, weights or untrained:vit_tiny")
    if not is_transformer(model):
        raise UsageError(
            f"{name} is no vision transformer of equal blocks, which finetune needs: keep a head on its features, with "
            f"openjepa evaluate {name} DATA --tasks linear --save-head FOLDER"
        )
    return model


def start(out: Path, encoder: Encoder, given: Given, tuning: Tuning) -> StartedTuning:
    """A new fine-tuning in `out`, planned and described. Raises UsageError."""
    check_new_folder(out, "continue it with --resume, or give --out another name")
    remove_leftovers(out)
    check_freeze(tuning, encoder)
    parts = open_parts(given, encoder, tuning.labels, tuning.regression, tuning.seed)
    target = parts.target
    tuning.check_target(target)
    tuning = dataclasses.replace(tuning, precision=_precision(encoder))
    steps, every = plan_length(encoder, parts, tuning, given.workers)
    stored = StoredTuning(
        settings=stored_values(tuning),
        model=encoder.name,
        model_hash=model_hash(encoder),
        data=str(given.data),
        validation=None if given.validation is None else str(given.validation),
        paths=_paths(parts),
        steps=steps,
        every=every,
        target=StoredTarget(kind=target.kind, labels=list(target.labels), outputs=list(target.outputs)),
        openjepa_version=__version__,
    )
    save_tuning(out, stored)
    log(*plan_lines(parts, tuning, steps, every))
    return StartedTuning(build(out, encoder, parts, tuning, stored, given), parts, tuning, stored, given)


def resume(out: Path, encoder: Encoder, given: Given, tuning: Tuning, stored: StoredTuning) -> StartedTuning:
    """The fine-tuning in `out` from its newest sound checkpoint. Raises UsageError if it is another."""
    check_same(out, stored.settings, stored_values(tuning))
    tuning = dataclasses.replace(tuning, precision=_precision(encoder))
    if model_hash(encoder) != stored.model_hash:
        raise UsageError(f"{encoder.name} is not the model that {out} was started with, or computes on another device")
    remove_leftovers(out)
    parts = open_parts(given, encoder, tuning.labels, tuning.regression, tuning.seed)
    if _paths(parts) != stored.paths:
        raise UsageError(f"{given.data} holds other images than {out} was started with: {AGAIN}")
    run = build(out, encoder, parts, tuning, stored, given)
    if not checkpoint_steps(run.checkpoints):
        log("no checkpoint yet: starting from step 0")
        return StartedTuning(run, parts, tuning, stored, given)
    try:
        complaints = run.resume()
    except DamagedCheckpoint as error:
        raise UsageError(f"{error}: {AGAIN}") from error
    log(*complaints, f"resuming after step {run.done:,} of {run.steps:,}")
    return StartedTuning(run, parts, tuning, stored, given)


def stored_precision(out: Path, resuming: bool, asked: str) -> tuple[str, StoredTuning | None]:
    """The precision to open the model in: that of the run that is resumed, whose finetuning.json is the second."""
    stored = read_tuning(out) if resuming else None
    kept = stored.settings.get("precision") if stored else None
    return (str(kept) if kept in PRECISIONS and asked == "auto" else asked), stored


def _precision(encoder: Encoder) -> str:
    return next(name for name, dtype in PRECISIONS.items() if dtype == encoder.precision)


def _paths(parts: Parts) -> str:
    """A hash of the names of the images to learn from and to validate on, with their targets."""
    found = hashlib.sha256()
    for part in (parts.train, parts.validation):
        found.update(fingerprint(part.dataset).encode() + np.ascontiguousarray(part.values).tobytes())
    return found.hexdigest()


def check_freeze(tuning: Tuning, encoder: Encoder) -> None:
    network: Any = encoder.network
    depth = len(blocks_of(network))
    if tuning.freeze > depth:
        raise UsageError(f"--freeze {tuning.freeze} is not possible: the encoder has {depth} blocks")


def objective_of(parts: Parts, tuning: Tuning) -> Objective:
    kind, outputs, values = parts.target.kind, len(parts.target.outputs), parts.train.values
    weights = balanced_weights(kind, values, outputs) if tuning.class_weights == "balanced" else None
    shift, scale = units_of(values) if kind is Kind.NUMBERS else (None, None)
    return Objective(kind, outputs, tuning.smoothing_for(kind), weights, shift, scale)


def make_tuner(encoder: Encoder, parts: Parts, tuning: Tuning, steps: int) -> Tuner:
    names = ("lr", "weight_decay", "layer_decay", "warmup", "mixup", "freeze", "seed")
    plan = TuningPlan(steps, **{name: getattr(tuning, name) for name in names})
    return Tuner(encoder, objective_of(parts, tuning), plan)


def make_batches(encoder: Encoder, parts: Parts, tuning: Tuning) -> Batches:
    size = min(tuning.batch_size, len(parts.train.values))
    how = tuning.crop_scale, size, tuning.seed
    return Batches(parts.train.dataset, None, encoder.image_size, *how, horizontal_flip=tuning.flip)


def validator(tuner: Tuner, parts: Parts, workers: int) -> Callable[[], Scores]:
    def validate() -> Scores:
        outputs, kept = tuner.all_outputs(parts.validation.dataset, workers)
        return measure(tuner.objective, outputs, parts.validation.values[kept])

    return validate


def build(out: Path, encoder: Encoder, parts: Parts, tuning: Tuning, stored: StoredTuning, given: Given) -> TuningRun:
    tuner = make_tuner(encoder, parts, tuning, stored.steps)
    return TuningRun(
        folder=out,
        tuner=tuner,
        batches=make_batches(encoder, parts, tuning),
        targets=torch.from_numpy(parts.train.values),
        validate=validator(tuner, parts, given.workers),
        every=stored.every,
        patience=tuning.patience,
        workers=given.workers,
        max_skipped=int(given.max_skipped * len(parts.train.values)),
    )


def plan_length(encoder: Encoder, parts: Parts, tuning: Tuning, workers: int) -> tuple[int, int]:
    """Steps, and steps between two validations: an epoch, a fiftieth of the run, or five steps, whichever is most."""
    count, size = len(parts.train.values), min(tuning.batch_size, len(parts.train.values))
    epochs = tuning.epochs if tuning.epochs or tuning.time else DEFAULT_EPOCHS
    epoch = count / size
    steps = [max(LEAST_STEPS, round(epochs * epoch))] if epochs else []
    if tuning.time:
        steps.append(_steps_within(seconds(str(tuning.time)), encoder, parts, tuning, workers))
    return min(steps), round(max(epoch, min(steps) / VALIDATIONS, LEAST_EVERY))


def _steps_within(budget: float, encoder: Encoder, parts: Parts, tuning: Tuning, workers: int) -> int:
    """The steps that take `budget` seconds with their validations, by some steps that are timed."""
    tuner, batches = make_tuner(encoder, parts, tuning, LEAST_STEPS), make_batches(encoder, parts, tuning)
    begun = time.perf_counter()
    for step, batch in enumerate(load_batches(batches, 0, WARM_UP + TIMED, workers, encoder.device)):
        if step == WARM_UP:
            synchronise(encoder.device)
            begun = time.perf_counter()
        tuner.step(step, batch, torch.from_numpy(parts.train.values)[batch.indices])
    synchronise(encoder.device)
    a_step, begun = (time.perf_counter() - begun) / TIMED, time.perf_counter()
    validator(tuner, parts, workers)()
    validating = time.perf_counter() - begun
    each_epoch = budget / (a_step + validating * batches.batch_size / len(parts.train.values))
    return max(1, int(max(each_epoch, (budget - VALIDATIONS * validating) / a_step)))


def plan_lines(parts: Parts, tuning: Tuning, steps: int, every: int) -> list[str]:
    """What is learnt from how many images, and for how long."""
    what = {Kind.CLASS: "classes", Kind.TAGS: "tags", Kind.NUMBERS: "numbers"}[parts.target.kind]
    known = f"{len(parts.target.outputs):,} {what} of {parts.target.name}"
    if parts.target.kind is not Kind.CLASS and parts.target.outputs == parts.target.labels:
        known = f"the {what} {parts.target.name}"
    size = min(tuning.batch_size, len(parts.train.values))
    epochs = steps * size / len(parts.train.values)
    test = f", tested on {len(parts.test.values):,}" if parts.test else ""
    stops = f", stopped after {tuning.patience} without improvement" if tuning.patience else ""
    return [
        f"learning {known} from {counted(len(parts.train.values), 'image')}, validated on "
        f"{len(parts.validation.values):,}{test}",
        f"{steps:,} steps of {size} images ({epochs:.3g} epochs) in {tuning.precision}, validated every "
        f"{every:,}{stops}",
    ]
