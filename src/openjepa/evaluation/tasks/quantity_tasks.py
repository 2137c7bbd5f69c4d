"""Tasks on what else is known of an image: objects, distance, depth, masks, and what it looks like."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import torch

from openjepa.errors import UsageError
from openjepa.evaluation.probes.best_linear import validation_split
from openjepa.evaluation.probes.dense import Dense, depth_rows, mean_iou, segment_rows
from openjepa.evaluation.probes.ridge import ridge
from openjepa.evaluation.protocol import named, result_of
from openjepa.evaluation.results import Result, mean_of
from openjepa.evaluation.session import Bench, Part
from openjepa.evaluation.tasks.appearance import explained, read_appearance
from openjepa.evaluation.tasks.bins import classes_of, counted, distance_classes, never_shown

Results = Iterator[Result]
MAPS = {"depth": "depth", "segment": "mask"}  # which of the targets' maps a task asks


def require_targets(task: str, train: Part, test: Part) -> None:
    """Raise UsageError where a task asks for what is not known of the images."""
    for part in (train, test):
        targets, source = part.targets, part.dataset.source
        if task in ("count", "distance") and not targets.annotations:
            raise UsageError(
                f"{task} needs objects, and {source} has none: give --annotations (CLEVR, COCO, VOC or CSV), or scenes"
            )
        deep = [targets.annotations[path].distance for path in part.dataset.paths] if task == "distance" else []
        if None in deep:
            raise UsageError(
                f"distance needs depths, and {deep.count(None):,} images of {source} have objects without: "
                "give CLEVR scenes, or drawn scenes"
            )
        kind = MAPS.get(task)
        if kind and not getattr(targets, kind):
            raise UsageError(f"{task} needs maps, and {source} has none: give --{kind}s FOLDER, or scenes")


def count(bench: Bench) -> Results:
    """How many objects an image shows: as a class, and as a number."""
    require_targets("count", bench.train, bench.test)
    yield _quantity(bench, "count")
    yield _number(bench, "count-error", [_counts(part, bench.paths(part)) for part in (bench.train, bench.test)])


def distance(bench: Bench) -> Results:
    """How far away the nearest object is, in classes."""
    require_targets("distance", bench.train, bench.test)
    yield _quantity(bench, "distance")


def _counts(part: Part, paths: Iterable[str]) -> np.ndarray:
    return np.array([part.targets.annotations[path].count for path in paths], np.float64)


def _count_classes(bench: Bench) -> tuple[np.ndarray, np.ndarray, list[str]]:
    return counted(*(_counts(part, bench.paths(part)) for part in (bench.train, bench.test)))


def _distance_classes(bench: Bench) -> tuple[np.ndarray, np.ndarray, list[str]]:
    edges = np.asarray(bench.train.targets.edges)
    parts = (bench.train, bench.test)
    distances = (np.array([part.targets.annotations[path].distance for path in bench.paths(part)]) for part in parts)
    return *(classes_of(values, edges) for values in distances), distance_classes(edges)


CLASSES = {"count": _count_classes, "distance": _distance_classes}


def _quantity(bench: Bench, task: str) -> Result:
    """The accuracy of a linear probe for the classes of a quantity."""
    labels, truth, names = CLASSES[task](bench)
    labels, truth = torch.from_numpy(labels), torch.from_numpy(truth)
    if len(labels.unique()) < 2:
        raise UsageError(f"all training images fall in one class of {task} ({names[int(labels[0])]}): add others")
    result = result_of(task, bench.linear(task, labels), truth, bench.seed)
    usual = float(_usual(labels, truth).mean())
    return replace(result, protocol=result.protocol | {"classes": names, "commonest": usual})


def _usual(labels: torch.Tensor, truth: torch.Tensor) -> np.ndarray:
    """[m] 1.0 where always saying the commonest training class is right."""
    return (truth == labels.mode().values).double().numpy()


def remarks(tasks: Iterable[str], train: Part, test: Part) -> list[str]:
    """A line to say where test images show counts that probes for count cannot have learned."""
    asked = set(tasks)
    if "count" not in asked | set(_quantities(train, test) if "probe-appearance" in asked else ()):
        return []
    counts = [_counts(part, part.dataset.paths) for part in (train, test)]
    unseen = counts[1][never_shown(*counts)]
    if not len(unseen):
        return []
    return [
        f"warning: {len(unseen):,} of {len(counts[1]):,} test images show counts that no training image shows (from "
        f"{unseen.min():g} to {unseen.max():g}), and are never right: give parts that show the same counts"
    ]


def _number(bench: Bench, task: str, values: list[np.ndarray]) -> Result:
    train, test = bench.features(bench.train)[0].last, bench.features(bench.test)[0].last
    numbers = torch.from_numpy(values[0]).float()[:, None]
    fit, validation = validation_split(len(train), bench.seed)
    head = ridge(train[fit], numbers[fit], train[validation], numbers[validation], bench.probe_device)
    errors = np.abs(head.predict(test)[:, 0].numpy() - values[1])
    protocol = {"probe": "ridge regression", "strength": head.strengths[0], "train_images": len(train)}
    return Result(task, "MAE", mean_of(errors), protocol)


def depth(bench: Bench) -> Results:
    train, test = _dense(bench, "depth")
    fit, validation = validation_split(len(train.maps), bench.seed)
    squares, close, setting = depth_rows(train.rows(fit), train.rows(validation), test, bench.probe_device)
    protocol = {"probe": "linear on patch tokens", "train_images": len(train.maps), **setting}
    yield Result("depth", "RMSE", squares, protocol, root_mean)
    yield Result("depth-delta1", "delta1", close, protocol)


def root_mean(sums: np.ndarray) -> np.ndarray:
    """The root of a mean, from sums [..., 2] of squares and their number."""
    return np.sqrt(sums[..., 0] / np.maximum(sums[..., 1], 1))


def segment(bench: Bench) -> Results:
    train, test = _dense(bench, "segment")
    fit, validation = validation_split(len(train.maps), bench.seed)
    rows, setting = segment_rows(train.rows(fit), train.rows(validation), test, bench.seed, bench.probe_device)
    protocol = {"probe": "linear on patch tokens", "train_images": len(train.maps), **setting}
    protocol |= {"classes": list(bench.train.targets.parts)} if bench.train.targets.parts else {}
    yield Result("segment", "mIoU", rows, protocol, mean_iou)


def _dense(bench: Bench, task: str) -> list[Dense]:
    require_targets(task, bench.train, bench.test)
    return [bench.dense(part, getattr(part.targets, MAPS[task])) for part in (bench.train, bench.test)]


def appearance(bench: Bench) -> Results:
    """How much of appearance, and how much of meaning, a linear reading of the embedding finds."""
    parts = []
    for part in (bench.train, bench.test):
        features, kept = bench.features(part)
        seen, same = bench.looks(part)
        parts.append((features.last, seen[np.searchsorted(same, kept)]))
    fit, validation = validation_split(len(parts[0][0]), bench.seed)
    train, held = ((parts[0][0][rows], parts[0][1][rows]) for rows in (fit, validation))
    for name, (rows, strengths) in read_appearance(train, held, parts[1], bench.probe_device).items():
        protocol = {"probe": "ridge regression", "strengths": strengths, "train_images": len(parts[0][0])}
        yield Result(f"appearance:{name}", "R2", rows, protocol, explained)
    yield from _semantics(bench)


def _semantics(bench: Bench) -> Results:
    """Skill in what images show: the share of the errors of always saying the commonest class that is avoided."""
    for label, labels, truth in bench.labels():
        result = result_of(named("semantics", label), bench.linear(label, labels), truth, bench.seed)
        yield _skill(f"semantics:{label}", result, labels, truth)
    for task in _quantities(bench.train, bench.test):
        labels, truth = map(torch.from_numpy, CLASSES[task](bench)[:2])
        yield _skill(f"semantics:{task}", _quantity(bench, task), labels, truth)


def _quantities(train: Part, test: Part) -> list[str]:
    """Of count and distance, what is known of all images and is no label of theirs already."""
    known = [*train.targets.annotations.values(), *test.targets.annotations.values()]
    if not train.targets.annotations or not test.targets.annotations:
        return []
    tasks = ["count"] if any(annotation.distance is None for annotation in known) else ["count", "distance"]
    return [task for task in tasks if task not in train.dataset.labels]


def _skill(name: str, result: Result, labels: torch.Tensor, truth: torch.Tensor) -> Result:
    usual = _usual(labels, truth)
    protocol = result.protocol | {"commonest": float(usual.mean())}
    return Result(name, "skill", np.column_stack([result.rows, usual]), protocol, skill)


def skill(sums: np.ndarray) -> np.ndarray:
    """The share avoided of the errors of always saying the commonest class.

    From sums [..., 3] of right answers, of images, and of images of that class, which are drawn anew too.
    """
    right, images, usual = np.moveaxis(sums, -1, 0)
    return (right - usual) / np.maximum(images - usual, 1)
