"""Which labelled images a probe learns from and which it is tested on."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from openjepa.data.dataset import UNLABELLED, ImageDataset
from openjepa.errors import UsageError
from openjepa.rng import SAMPLES, generator

HELD_OUT = 0.2
NAMED = 5


def split_held_out(dataset: ImageDataset, seed: int) -> tuple[ImageDataset, ImageDataset]:
    """A training part and a held-out fifth, stratified by the first label where there is one.

    Images without that label are a stratum of their own. The only image of a class is for training.
    """
    usable = shared_labels(dataset, dataset)
    if not usable:
        order = generator(seed, SAMPLES).permutation(len(dataset))
        test, train = np.split(order, [max(1, round(HELD_OUT * len(order)))])
        return dataset.subset(np.sort(train)), dataset.subset(np.sort(test))
    train, test = holdout_split(dataset.labels[usable[0]], HELD_OUT, seed, dataset.classes[usable[0]])
    return dataset.subset(train), dataset.subset(test)


def holdout_split(
    labels: np.ndarray, fraction: float, seed: int, names: Sequence[str] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(train, holdout) indices, both sorted int64: `fraction` of every class is held out, the same for a seed.

    At least one image of every class is on each side, whatever the fraction; a single image of a class is in train.
    labels [n] int64, UNLABELLED (-1) being divided like a class; 0 < fraction < 1; `names[label]` is what messages
    call a class. Raises UsageError unless two classes have two images, or for a fraction out of range.
    """
    if not 0 < fraction < 1:
        raise UsageError(f"a holdout fraction of {fraction} was given: it must lie between 0 and 1, such as 0.2")
    require_several(labels, names)
    members, counts = np.unique(labels, return_inverse=True, return_counts=True)[1:]
    quota = np.minimum(np.clip(np.rint(fraction * counts), 1, None), counts - 1)
    shuffled = np.random.Generator(np.random.Philox(key=seed % 2**64)).permutation(len(labels))
    by_class = shuffled[np.argsort(members[shuffled], kind="stable")]
    place = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    held = place < np.repeat(quota, counts)
    return np.sort(by_class[~held]), np.sort(by_class[held])


def require_several(labels: np.ndarray, names: Sequence[str] | None = None) -> None:
    """Raise UsageError unless two classes or more of labels [n] have two images or more."""
    classes, counts = np.unique(labels[labels != UNLABELLED], return_counts=True)
    if len(classes) < 2:
        found = f"only one class ({_listed(classes, names)}) was" if len(classes) else "no labels were"
        raise UsageError(f"{found} found: evaluation needs images of at least 2 classes, so add another class")
    if sum(counts > 1) < 2:
        single = classes[counts == 1]
        raise UsageError(
            f"{len(single)} of {len(classes)} classes have a single image ({_listed(single, names)}): "
            "evaluation needs at least 2 images of at least 2 classes, so add images"
        )


def shared_labels(train: ImageDataset, test: ImageDataset) -> list[str]:
    """The labels that both sets have, of which training shows two classes or more and test at least one image."""
    return [
        name
        for name, values in train.labels.items()
        if name in test.labels
        and len(np.unique(values[values != UNLABELLED])) > 1
        and (test.labels[name] != UNLABELLED).any()
    ]


def check_labels(train: ImageDataset, test: ImageDataset) -> None:
    """Raise UsageError unless the sets share a label, of the same classes, with several images to learn from."""
    for dataset in (train, test):
        if not dataset.labels:
            raise UsageError(
                f"{dataset.source} has no labels to measure by: put the images in one folder a class, of two classes "
                "or more; or, for boxes of objects, give --annotations BOXES --tasks count"
            )
    shared = shared_labels(train, test)
    if not shared and set(train.labels) & set(test.labels):
        raise UsageError(f"{train.source} has images of one class only: measuring needs two or more")
    if not shared:
        raise UsageError(
            f"{train.source} has the labels {', '.join(train.labels)} and {test.source} has "
            f"{', '.join(test.labels)}: give images with the same labels"
        )
    require_several(train.labels[shared[0]], train.classes[shared[0]])
    for name in shared:
        extra = _shown(test, name) - set(train.classes[name])
        if extra:
            raise UsageError(
                f"{test.source} has classes that {train.source} does not have ({', '.join(sorted(extra)[:3])}): they "
                "must be the same"
            )


def label_remarks(train: ImageDataset, test: ImageDataset) -> list[str]:
    """Lines for the user on images, classes and labels that are left out. `test` may be `train`, before it is split."""
    shared = shared_labels(train, test)
    unused = [name for name in dict.fromkeys([*train.labels, *test.labels]) if name not in shared]
    which = "that training and test images do not share, or that have one class only"
    lines = [f"note: labels {which}, are left out: {', '.join(unused)}"] if unused else []
    for name in shared:
        for dataset in (train, test) if test is not train else (train,):
            lines += _unlabelled_line(dataset, name)
        lines += _unseen_line(train, test, name)
    return lines


def _unlabelled_line(dataset: ImageDataset, name: str) -> list[str]:
    lacking = int((dataset.labels[name] == UNLABELLED).sum())
    where = f"{lacking:,} of {len(dataset):,} images of {dataset.source} have no label {name}"
    return [f"note: {where}, and are left out of its probes and tests"] if lacking else []


def _unseen_line(train: ImageDataset, test: ImageDataset, name: str) -> list[str]:
    """On the single images of classes, where a fifth is held out; on classes that training does not show, else."""
    if test is train:
        classes, counts = np.unique(train.labels[name], return_counts=True)
        single = classes[(counts == 1) & (classes != UNLABELLED)]
        what = f"with a single image, which is not tested on: {_listed(single, train.classes[name])}"
        return [f"note: {len(single):,} classes of {name} {what}"] if len(single) else []
    unseen = _shown(test, name) - _shown(train, name)
    what = f"of {name} that no training image shows, and are never right: {', '.join(sorted(unseen)[:NAMED])}"
    return [f"warning: test images are of {len(unseen):,} classes {what}"] if unseen else []


def _shown(dataset: ImageDataset, name: str) -> set[str]:
    """The classes of a label of which there are images."""
    numbers = np.unique(dataset.labels[name])
    return {dataset.classes[name][number] for number in numbers[numbers != UNLABELLED]}


def aligned_labels(dataset: ImageDataset, like: ImageDataset, kept: np.ndarray) -> dict[str, Tensor]:
    """The labels of the images at indices `kept`, int64 [n] by name, numbered by the classes of the data set `like`.

    Of labels that `like` has too; UNLABELLED where an image lacks one, or its class is none of `like`.
    """
    aligned = {}
    for name in (name for name in dataset.labels if name in like.labels):
        place = {word: number for number, word in enumerate(like.classes[name])}
        number = np.array([*(place.get(word, UNLABELLED) for word in dataset.classes[name]), UNLABELLED], np.int64)
        aligned[name] = torch.from_numpy(number[dataset.labels[name][kept]])  # -1 takes the last
    return aligned


def _listed(classes: np.ndarray, names: Sequence[str] | None) -> str:
    shown = [names[label] if names else str(label) for label in classes[:NAMED]]
    return ", ".join(shown) + (f" and {len(classes) - NAMED} more" if len(classes) > NAMED else "")
