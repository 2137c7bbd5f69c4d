"""Heads that vote, measured on labelled images: each of them, and the mean of their probabilities."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from openjepa.console import counting, log, show_table
from openjepa.data.dataset import UNLABELLED, ImageDataset
from openjepa.encoder.features import compute_features
from openjepa.errors import UsageError
from openjepa.evaluation.intervals import paired_difference, ratio
from openjepa.evaluation.results import mean_of
from openjepa.interop.classifier import Classifier, Problem
from openjepa.interop.head_tests import HeadTest, head_test


def measured(heads: Sequence[Classifier], dataset: ImageDataset, workers: int) -> HeadTest:
    """The accuracy of the vote on the images of a known class; logs it beside those of the heads. Raises UsageError."""
    label, truth = _truth(heads[0], dataset)
    said, known = [], False
    for head in heads:
        with counting(f"looking at images with {head.name}") as progress:
            answers, kept, _ = compute_features(head, dataset, workers, progress=progress, compute=head.answers)
        known = known or bool(answers[:, -1].any())
        order = torch.tensor([head.classes.index(name) for name in heads[0].classes])
        said.append(answers[:, order])
    truth = truth[torch.from_numpy(kept)]
    said, truth = [each[truth >= 0] for each in said], truth[truth >= 0]
    rows = [_correct(each, truth) for each in (*said, torch.stack(said).mean(dim=0))]
    names = [*(head.name for head in heads), "all, by the mean of their probabilities"]
    show_table(["head", "accuracy in %"], [[n, f"{100 * r.mean():.1f}"] for n, r in zip(names, rows, strict=True)])
    best = max(rows[:-1], key=lambda row: float(row.mean()))
    value, low, high = (100 * number for number in paired_difference(mean_of(rows[-1]), mean_of(best), ratio))
    log(f"the vote against the best head: {value:+.1f} points ({low:+.1f} to {high:+.1f}) on {len(truth):,} images")
    if known:
        log("warning: heads were trained on some of these images, for which they answer better than for others")
    commonest = (truth == truth.mode().values).double().numpy()
    return head_test(label, "accuracy", rows[-1], commonest)


def _truth(head: Classifier, dataset: ImageDataset) -> tuple[str, Tensor]:
    """The label whose classes a head tells, and the numbers [n] of these by the head's order, -1 where not known."""
    if head.problem is not Problem.CLASSES:
        kind = head.problem.name.lower()
        raise UsageError(f"{head.name} tells {kind}, of which no accuracy is measured: leave out --data")
    for label, classes in dataset.classes.items():
        if set(classes) & set(head.classes):
            place = {name: number for number, name in enumerate(head.classes)}
            numbers = np.array([*(place.get(name, UNLABELLED) for name in classes), UNLABELLED])
            return label, torch.from_numpy(numbers[dataset.labels[label]])
    raise UsageError(f"{dataset.source} has no label with the classes of {head.name}: give other --data, or none")


def _correct(said: Tensor, truth: Tensor) -> np.ndarray:
    return (said.argmax(dim=1) == truth).double().numpy()
