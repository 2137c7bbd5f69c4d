"""The measurement itself: features once, then every task on every label, each number with its interval and protocol."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from openjepa.data.dataset import ImageDataset
from openjepa.encoder.features import Model, compute_features
from openjepa.errors import UsageError
from openjepa.evaluation.probes.best_linear import Choice, Features, best_linear
from openjepa.evaluation.probes.knn import knn_predict
from openjepa.evaluation.results import Result, mean_of
from openjepa.evaluation.splits import holdout_split, require_several
from openjepa.rng import SAMPLES, generator

TASKS = ("linear", "knn")
NEIGHBOURS, TEMPERATURE = 20, 0.07
HELD_OUT = 0.2


@dataclass(frozen=True)
class Labelled:
    """Features [n, D] and, by label name, classes [n] int64."""

    features: Tensor
    labels: dict[str, Tensor]


def check_labels(train: ImageDataset, test: ImageDataset) -> None:
    """Raise UsageError unless both sets have the same labels, of classes with several images to learn from."""
    for dataset in (train, test):
        if not dataset.labels:
            raise UsageError(
                f"{dataset.source} has no labels to measure by: put the images in one folder a class, of two classes "
                "or more"
            )
        if any(len(np.unique(values)) < 2 for values in dataset.labels.values()):
            raise UsageError(f"{dataset.source} has images of one class only: measuring needs two or more")
    first = next(iter(train.labels))
    require_several(train.labels[first], train.classes[first])
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
    """A training part and a held-out fifth, stratified by the first label where there is one."""
    if not dataset.labels:
        order = generator(seed, SAMPLES).permutation(len(dataset))
        test, train = np.split(order, [max(1, round(HELD_OUT * len(order)))])
        return dataset.subset(np.sort(train)), dataset.subset(np.sort(test))
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
    x, test_x = Features(train.features), Features(test.features)
    return [
        PROBES[task](named(task, label), x, train.labels[label], test_x, truth, seed).record()
        for label, truth in test.labels.items()
        for task in tasks
    ]


def named(task: str, label: str) -> str:
    return task if label == "class" else f"{task}:{label}"


def linear_result(task: str, train: Features, labels: Tensor, test: Features, truth: Tensor, seed: int) -> Result:
    """The accuracy of the linear probe with batch norm."""
    return result_of(task, best_linear(train, labels, test, seed, batch_norms=(True,)), truth, seed)


def result_of(task: str, choice: Choice, truth: Tensor, seed: int) -> Result:
    """The accuracy of a linear probe that has been chosen."""
    protocol = {"seed": seed, **choice.protocol(), "train_images": sum(choice.rows)}
    return Result(task, "accuracy", mean_of(choice.probe.predictions == truth), protocol)


def knn_result(
    task: str,
    train: Features,
    labels: Tensor,
    test: Features,
    truth: Tensor,
    seed: int,
    device: torch.device | str = "cpu",
) -> Result:
    """The accuracy of a vote of the 20 nearest."""
    predictions = knn_predict(train.last, labels, test.last, NEIGHBOURS, TEMPERATURE, device)
    protocol = {"probe": "k-NN by cosine", "k": NEIGHBOURS, "temperature": TEMPERATURE, "train_images": len(labels)}
    return Result(task, "accuracy", mean_of(predictions == truth), protocol)


PROBES = {"linear": linear_result, "knn": knn_result}
