"""The measurement itself: features once, then every task on every label, each number with its interval and protocol."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from openjepa.core.streams import SAMPLES, generator
from openjepa.data.dataset import ImageDataset
from openjepa.errors import UsageError
from openjepa.evaluation.features import Model, compute_features
from openjepa.evaluation.intervals import accuracy_interval
from openjepa.evaluation.knn import knn_predict
from openjepa.evaluation.linear import linear_probe
from openjepa.evaluation.split import holdout_split

TASKS = ("linear", "knn")
NEIGHBOURS, TEMPERATURE = 20, 0.07
VALIDATION, HELD_OUT = 0.1, 0.2


@dataclass(frozen=True)
class Labelled:
    """Features [n, D] and, by label name, classes [n] int64."""

    features: Tensor
    labels: dict[str, Tensor]


def check_labels(train: ImageDataset, test: ImageDataset) -> None:
    """Raise UsageError unless both sets have the same labels with the same class names."""
    for dataset in (train, test):
        if not dataset.labels:
            raise UsageError(f"{dataset.source} has no labels to measure by: put the images in one folder a class")
        if any(len(np.unique(values)) < 2 for values in dataset.labels.values()):
            raise UsageError(f"{dataset.source} has images of one class only: measuring needs two or more")
    for name in train.labels:
        extra = set(test.classes.get(name, ())) - set(train.classes[name])
        if name not in test.labels or extra:
            which = ", ".join(sorted(extra)[:3]) or name
            raise UsageError(f"{test.source} has classes that {train.source} has not ({which}): they must be the same")


def aligned_labels(dataset: ImageDataset, like: ImageDataset, kept: np.ndarray) -> dict[str, Tensor]:
    """The labels of the kept images, numbered by the classes of another data set."""
    aligned = {}
    for name, values in dataset.labels.items():
        number = np.array([like.classes[name].index(word) for word in dataset.classes[name]])
        aligned[name] = torch.from_numpy(number[values[kept]])
    return aligned


def split_held_out(dataset: ImageDataset, seed: int) -> tuple[ImageDataset, ImageDataset]:
    """A training part and a held-out fifth, stratified by the first label."""
    name = next(iter(dataset.labels))
    train, test = holdout_split(dataset.labels[name], HELD_OUT, seed, dataset.classes[name])
    return dataset.subset(train), dataset.subset(test)


def extract(
    model: Model,
    dataset: ImageDataset,
    like: ImageDataset,
    workers: int,
    progress: Callable[[int, int], None] | None = None,
) -> Labelled:
    """Features and labels of all readable images of a data set."""
    features, kept, _ = compute_features(model, dataset, workers, progress=progress)
    return Labelled(features, aligned_labels(dataset, like, kept))


def measure(train: Labelled, test: Labelled, tasks: tuple[str, ...], seed: int) -> list[dict]:
    """Records with task, metric, value, low, high (fractions) and protocol, for each label and task.

    A task on the class folders is named alone ("linear"), on another label with it ("linear:shape").
    """
    records = []
    for label, truth in test.labels.items():
        for task in tasks:
            predictions, protocol = PROBES[task](train, label, test.features, seed)
            value, low, high = accuracy_interval(predictions == truth)
            name = task if label == "class" else f"{task}:{label}"
            protocol |= {"train_images": len(train.features), "test_images": len(truth), "interval": "Wilson 95 %"}
            records.append(
                {"task": name, "metric": "accuracy", "value": value, "low": low, "high": high, "protocol": protocol}
            )
    return records


def _linear(train: Labelled, label: str, test: Tensor, seed: int) -> tuple[Tensor, dict]:
    labels = train.labels[label]
    order = torch.from_numpy(generator(seed, SAMPLES).permutation(len(labels)))
    validation, fit = order.tensor_split([max(1, round(VALIDATION * len(order)))])
    x = train.features
    probe = linear_probe(x[fit], labels[fit], x[validation], labels[validation], test, seed)
    chosen = {"chosen_on": f"{VALIDATION:.0%} of train", "validation_accuracy": probe.val_accuracy, **probe.setting}
    return probe.predictions, {"probe": "softmax regression on standardised features", "seed": seed, **chosen}


def _knn(train: Labelled, label: str, test: Tensor, seed: int) -> tuple[Tensor, dict]:
    predictions = knn_predict(train.features, train.labels[label], test, NEIGHBOURS, TEMPERATURE)
    return predictions, {"probe": "k-NN by cosine", "k": NEIGHBOURS, "temperature": TEMPERATURE}


PROBES = {"linear": _linear, "knn": _knn}
