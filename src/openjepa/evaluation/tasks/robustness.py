"""robustness: the linear classifier of clean images on corrupted ones."""

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
from torch import Tensor

from openjepa.data.dataset import UNLABELLED
from openjepa.evaluation.corruptions import CORRUPTIONS, STRENGTHS, Corrupted
from openjepa.evaluation.intervals import accuracy_interval
from openjepa.evaluation.probes.best_linear import Choice, Features
from openjepa.evaluation.results import Result, mean_of, named
from openjepa.evaluation.session import Progress, Session
from openjepa.evaluation.splits import aligned_labels
from openjepa.evaluation.task import Task, fetch_embeddings


def fetch(session: Session, progress: Progress) -> None:
    fetch_embeddings(session, progress)
    for corrupted in corrupted_images(session):
        session.features_of(corrupted, progress)


def corrupted_images(session: Session) -> Iterator[Corrupted]:
    """Up to 2,000 test images under every corruption, each in its five strengths from weak to strong."""
    clean = session.test.dataset.subset(session.sample(session.test))
    for name in CORRUPTIONS:
        for strength in STRENGTHS:
            corrupted = Corrupted(clean, name, strength)
            session.store.derive(corrupted, clean, f"{name}:{strength}")
            yield corrupted


def run(session: Session) -> Iterator[Result]:
    """The mean accuracy over five strengths of each corruption, and that on the same images as they are."""
    like, found = session.train.dataset, defaultdict(list)
    for corrupted in corrupted_images(session):
        features, kept = session.features_of(corrupted)
        found[corrupted.corruption].append((features, aligned_labels(corrupted, like, kept)))
    sample = session.sample(session.test)
    for answers in session.labels():
        choice, label = session.linear(answers), answers.name
        protocol = {"probe": "linear, fitted on clean images", "train_images": len(answers.labels)}
        chosen = np.isin(answers.test_rows, sample)
        clean = (choice.probe.predictions == answers.truth)[chosen]
        constant = mean_of(answers.commonest[chosen]), answers.commonest_answer
        yield Result(named("robust-clean", label), "accuracy", mean_of(clean), protocol).beside(*constant)
        for corruption, strengths in found.items():
            scores = [_right(choice, x, truths[label]) for x, truths in strengths]
            each = {"strengths": list(STRENGTHS), "by_strength": [accuracy_interval(right) for right in scores]}
            rows = mean_of(np.mean([right.double().numpy() for right in scores], axis=0))
            result = Result(named(f"robust-{corruption}", label), "accuracy", rows, protocol | each)
            yield result.beside(*constant)


def _right(choice: Choice, features: Features, truth: Tensor) -> Tensor:
    """Which answers are right, of the images that have the label."""
    asked = truth != UNLABELLED
    return choice.predict(features.rows(asked)) == truth[asked]


TASK = Task("robustness", "Linear classifier on corrupted images", run, fetch=fetch)
