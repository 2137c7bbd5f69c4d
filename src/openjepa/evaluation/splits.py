"""Which labelled images a probe learns from and which it is tested on."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from openjepa.data.dataset import ImageDataset
from openjepa.errors import UsageError
from openjepa.rng import SAMPLES, generator

HELD_OUT = 0.2
NAMED = 5


def split_held_out(dataset: ImageDataset, seed: int) -> tuple[ImageDataset, ImageDataset]:
    """A training part and a held-out fifth, stratified by the first label where there is one."""
    if not dataset.labels:
        order = generator(seed, SAMPLES).permutation(len(dataset))
        test, train = np.split(order, [max(1, round(HELD_OUT * len(order)))])
        return dataset.subset(np.sort(train)), dataset.subset(np.sort(test))
    name = next(iter(dataset.labels))
    train, test = holdout_split(dataset.labels[name], HELD_OUT, seed, dataset.classes[name])
    return dataset.subset(train), dataset.subset(test)


def holdout_split(
    labels: np.ndarray, fraction: float, seed: int, names: Sequence[str] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(train, holdout) indices, both sorted int64: `fraction` of every class is held out, the same for a seed.

    At least one image of every class is on each side, whatever the fraction. labels [n] int64; 0 < fraction < 1;
    `names[label]` is what messages call a class. Raises UsageError when there is one class only, when a class has a
    single image, or for a fraction out of range.
    """
    if not 0 < fraction < 1:
        raise UsageError(f"a holdout fraction of {fraction} was given: it must lie between 0 and 1, such as 0.2")
    require_several(labels, names)
    members, counts = np.unique(labels, return_inverse=True, return_counts=True)[1:]
    quota = np.clip(np.rint(fraction * counts), 1, counts - 1)
    shuffled = np.random.Generator(np.random.Philox(key=seed % 2**64)).permutation(len(labels))
    by_class = shuffled[np.argsort(members[shuffled], kind="stable")]
    place = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    held = place < np.repeat(quota, counts)
    return np.sort(by_class[~held]), np.sort(by_class[held])


def require_several(labels: np.ndarray, names: Sequence[str] | None = None) -> None:
    """Raise UsageError unless labels [n] are of two classes or more, each with two images or more."""
    classes, counts = np.unique(labels, return_counts=True)
    if len(classes) < 2:
        found = f"only one class ({_listed(classes, names)}) was" if len(classes) else "no labels were"
        raise UsageError(f"{found} found: evaluation needs images of at least 2 classes, so add another class")
    single = classes[counts == 1]
    if len(single):
        verb = "has" if len(single) == 1 else "have"
        raise UsageError(
            f"{len(single)} of {len(classes)} classes {verb} a single image ({_listed(single, names)}): "
            "evaluation needs at least 2 per class, so add images or leave those classes out"
        )


def check_labels(train: ImageDataset, test: ImageDataset) -> None:
    """Raise UsageError unless both sets have the same labels, with several images of each class to learn from."""
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
            raise UsageError(
                f"{test.source} has classes that {train.source} does not have ({which}): they must be the same"
            )


def aligned_labels(dataset: ImageDataset, like: ImageDataset, kept: np.ndarray) -> dict[str, Tensor]:
    """The labels of the images at indices `kept`, int64 [n] by name, numbered by the classes of the data set `like`."""
    aligned = {}
    for name, values in dataset.labels.items():
        number = np.array([like.classes[name].index(word) for word in dataset.classes[name]])
        aligned[name] = torch.from_numpy(number[values[kept]])
    return aligned


def _listed(classes: np.ndarray, names: Sequence[str] | None) -> str:
    shown = [names[label] if names else str(label) for label in classes[:NAMED]]
    return ", ".join(shown) + (f" and {len(classes) - NAMED} more" if len(classes) > NAMED else "")
