"""What a fine-tuning leaves: the folder with the head, its answers on held-out images, and the graph for ONNX."""

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from openjepa._version import __version__
from openjepa.console import log
from openjepa.encoder.foreign import ForeignEncoder
from openjepa.errors import shown
from openjepa.evaluation.finetuning.layers import blocks_of
from openjepa.evaluation.finetuning.objective import Kind
from openjepa.evaluation.finetuning.scores import image_scores, measure
from openjepa.evaluation.finetuning.targets import Target
from openjepa.files import atomic_folder, usage_error, write_rows
from openjepa.interop.classifier import MODEL, Classifier, Problem, hashes_of, load_classifier, save_classifier
from openjepa.interop.head_answers import BETWEEN, answer_cells
from openjepa.interop.head_card import HeadCard, write_head_card
from openjepa.interop.head_formats import write_onnx
from openjepa.interop.head_tests import HeadTest, head_test, result_lines
from openjepa.runs.finetuning.images import Labelled
from openjepa.runs.finetuning.start import StartedTuning

PREDICTIONS, ONNX = "predictions.csv", "onnx"
PROBLEMS = {Kind.CLASS: Problem.CLASSES, Kind.TAGS: Problem.TAGS, Kind.NUMBERS: Problem.QUANTITIES}
POOLED = {
    "auto": "its features as its library pools them",
    "class": "its class token",
    "mean": "the mean of its patch tokens",
}
METRICS = {Kind.CLASS: "accuracy", Kind.TAGS: "accuracy", Kind.NUMBERS: "mean error"}


def write_results(started: StartedTuning, onnx: bool) -> None:
    """Write predictions.csv, the folder `model` and, with `onnx`, the folder `onnx`. Raises UsageError."""
    run, parts, out = started.run, started.parts, started.run.folder
    outputs, kept = run.tuner.all_outputs(parts.held_out.dataset, run.workers)
    held = parts.held_out.rows(np.array(kept))
    test = _test(started, outputs, held)
    weight, bias = run.tuner.objective.head(run.tuner.head.weight.detach(), run.tuner.head.bias.detach())
    about = _about(started, test, outputs, held)
    problem, names = PROBLEMS[parts.target.kind], list(parts.target.outputs)
    hashes = hashes_of(run.tuner.encoder, parts.train.dataset, run.workers)
    card = functools.partial(write_head_card, _card(started, problem, test))
    save_classifier(out / MODEL, run.tuner.encoder, weight, bias, names, about, hashes, problem, card, replace=True)
    model = load_classifier(out)
    _write_predictions(out / PREDICTIONS, model, parts.target, outputs, held)
    log(*result_lines([test]), *_seen_line(started, hashes))
    if parts.test is None:
        log("these images also chose the step: name --test DATA for a number that is not too good")
    log(f"head: {out / MODEL}; answers for the {len(held.values):,} held-out images: {out / PREDICTIONS}")
    if onnx:
        with usage_error(out / ONNX), atomic_folder(out / ONNX, replace=True) as part:
            write_onnx(part, model)


def _test(started: StartedTuning, outputs: Tensor, held: Labelled) -> HeadTest:
    target = started.parts.target
    scores = image_scores(target.kind, outputs, held.values, started.parts.train.values)
    return head_test(target.name, METRICS[target.kind], *scores)


def _seen_line(started: StartedTuning, hashes: np.ndarray) -> list[str]:
    """A warning where held-out images are the same as some to learn from."""
    run, held = started.run, started.parts.held_out
    seen = int(np.isin(hashes_of(run.tuner.encoder, held.dataset, run.workers), hashes).sum())
    return [f"warning: {seen:,} of them are also among the images learnt from: the number is too good"] if seen else []


def _about(started: StartedTuning, test: HeadTest, outputs: Tensor, held: Labelled) -> dict[str, Any]:
    """What openjepa.json records besides what reads the head."""
    run, parts = started.run, started.parts
    measured = measure(run.tuner.objective, outputs, held.values)
    about: dict[str, Any] = {"openjepa_version": __version__, "encoder_of": started.stored.model}
    about |= {"label": parts.target.name, "settings": started.stored.settings, "step": run.best[1], "steps": run.steps}
    about |= {"train_images": len(parts.train.values), "validation_images": len(parts.validation.values)}
    about |= {"tested_on": _held_out_name(started), measured.metric: measured.value}
    return about | {"data": started.stored.data, "test": [test.model_dump()]}


def _held_out_name(started: StartedTuning) -> str:
    given = started.given
    if given.test is not None:
        return str(given.test)
    return f"{given.data if given.validation is None else given.validation}, the images of the validations"


def _card(started: StartedTuning, problem: Problem, test: HeadTest) -> HeadCard:
    run, parts, encoder = started.run, started.parts, started.run.tuner.encoder
    rows, columns = encoder.image_size
    model = [("fine-tuned from", started.stored.model), ("image size", f"{rows} x {columns}")]
    model += [("blocks, width", f"{len(blocks_of(run.tuner.network))}, {encoder.network.embed_dim}")]
    data = [("images", started.stored.data), ("learnt from", f"{len(parts.train.values):,} images")]
    data += [("validated on", f"{len(parts.validation.values):,} images"), ("tested on", _held_out_name(started))]
    settings = [(name, shown(value)) for name, value in started.stored.settings.items() if value is not None]
    settings += [("steps", f"{run.best[1]:,} of {run.steps:,}, the best of the validations")]
    what = run.folder.resolve().name, encoder.licence, problem, parts.target.outputs
    pooled = POOLED[encoder.pooling] if isinstance(encoder, ForeignEncoder) else POOLED["mean"]
    return HeadCard(*what, model, data, settings, [test], pooled)


def _write_predictions(path: Path, model: Classifier, target: Target, outputs: Tensor, held: Labelled) -> None:
    answers = outputs
    if model.problem is not Problem.QUANTITIES:
        answers = outputs.sigmoid() if model.problem is Problem.TAGS else outputs.softmax(1)
    columns, cells = answer_cells(model, answers)
    truths = [f"true {name}" for name in target.outputs] if target.kind is Kind.NUMBERS else ["truth"]
    table = zip(held.dataset.paths, _truths(target, held.values), cells, strict=True)
    write_rows(path, ["path", *truths, *columns], ([path, *truth, *row] for path, truth, row in table))


def _truths(target: Target, values: np.ndarray) -> Iterator[Sequence[str]]:
    """The cells with the right answer of each image."""
    for value in values:
        if target.kind is Kind.CLASS:
            yield [target.outputs[value]]
        elif target.kind is Kind.TAGS:
            yield [BETWEEN.join(name for name, has in zip(target.outputs, value, strict=True) if has)]
        else:
            yield [f"{number:z.6g}" for number in value]
