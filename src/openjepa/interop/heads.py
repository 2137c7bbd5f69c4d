"""Heads that are kept: the linear probe of a label, or the regressions of quantities, with its encoder."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from openjepa.console import log
from openjepa.encoder.encoder import Encoder
from openjepa.errors import UsageError
from openjepa.evaluation.annotations.quantities import Regression, count_classes, distance_classes, regression
from openjepa.evaluation.probes.best_linear import best_linear
from openjepa.evaluation.session import Answers, Session
from openjepa.evaluation.task import Need
from openjepa.evaluation.tasks.registry import TASKS
from openjepa.interop.classifier import Problem, hashes_of, save_classifier
from openjepa.interop.head_tests import HeadTest, head_test

UNITS = {"count": "objects", "distance": "units of the annotations"}
QUANTITIES: dict[Need, Callable[[Session], Answers]] = {Need.COUNTS: count_classes, Need.DISTANCES: distance_classes}


def tasks_of_head(tasks: Sequence[str]) -> list[str]:
    """The tasks, of some, that a head is kept of: those on classes, else those on quantities."""
    classes = [name for name in tasks if Need.CLASSES in TASKS[name].needs]
    return classes or [name for name in tasks if quantity_of(name)]


def quantity_of(task: str) -> Callable[[Session], Answers] | None:
    return next((QUANTITIES[need] for need in TASKS[task].needs if need in QUANTITIES), None)


def write_head(folder: Path, session: Session, tasks: Sequence[str]) -> None:
    """Write the linear probe of the last layer for the first label or, of `tasks` on quantities alone, regressions."""
    chosen = tasks_of_head(tasks)
    if Need.CLASSES in TASKS[chosen[0]].needs:
        _write_classes(folder, session)
    else:
        _write_quantities(folder, session, chosen)


def _write_classes(folder: Path, session: Session) -> None:
    encoder, answers = _encoder(session), next(session.labels())
    train, test = (each.last_layer for each in (answers.train, answers.test))
    choice = best_linear(train, answers.labels, test, session.seed, session.device)
    correct = (choice.probe.predictions == answers.truth).double().numpy()
    result = head_test(answers.name, "accuracy", correct, answers.commonest)
    accuracy = result.value
    names = [answers.names[number] for number in choice.probe.classes]
    about = {"encoder_of": encoder.name, "label": answers.name, "test_accuracy": accuracy, **choice.protocol()}
    about |= {"test": [result.model_dump()]}
    hashes = _hashes(session, answers.train_rows)
    save_classifier(folder, encoder, choice.probe.weight, choice.probe.bias, names, about, hashes)
    log(f"head of {encoder.name} ({answers.name}, {accuracy:.1%} on the test images): {folder}")


def _write_quantities(folder: Path, session: Session, tasks: Sequence[str]) -> None:
    encoder, read = _encoder(session), [quantity_of(task) for task in tasks]
    known = [answers_of(session) for answers_of in read if answers_of]
    fitted = [regression(session, answers) for answers in known]
    kind = session.train.targets.kind
    names = [f"{answers.name} of {kind}" if kind else answers.name for answers in known]
    errors = [float(each.errors.mean()) for each in fitted]
    units = [UNITS[answers.name] for answers in known]
    tests = [_error_test(name, each, unit) for name, each, unit in zip(names, fitted, units, strict=True)]
    weight = torch.cat([each.head.weight.T for each in fitted])
    bias = torch.cat([each.head.bias for each in fitted])
    about: dict[str, Any] = {
        "encoder_of": encoder.name,
        "probe": "ridge regression",
        "test_mean_error": dict(zip(names, errors, strict=True)),
        "kind": kind,
    }
    about |= {"test": [test.model_dump() for test in tests]}
    hashes = _hashes(session, np.unique(np.concatenate([answers.train_rows for answers in known])))
    save_classifier(folder, encoder, weight, bias, names, about, hashes, Problem.QUANTITIES)
    told = zip(names, errors, units, strict=True)
    said = ", ".join(f"{name} with a mean error of {error:.3g} {unit}" for name, error, unit in told)
    log(f"head of {encoder.name} ({said} on the test images): {folder}")


def _error_test(name: str, fitted: Regression, unit: str) -> HeadTest:
    return head_test(name, "mean error", fitted.errors, np.abs(fitted.counts.mean() - fitted.truth), unit)


def _encoder(session: Session) -> Encoder:
    if not isinstance(session.model, Encoder):
        raise UsageError("--save-head needs an encoder: name a run or an artifact")
    return session.model


def _hashes(session: Session, rows: np.ndarray) -> np.ndarray:
    """Hashes of some training images, as the encoder sees them."""
    return hashes_of(session.model, session.train.dataset.subset(rows), session.store.workers)
