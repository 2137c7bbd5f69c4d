"""Tasks on what else is known of an image: objects, distance, depth, masks, and what it looks like."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from openjepa.errors import UsageError
from openjepa.evaluation.appearance import explained, read_appearance
from openjepa.evaluation.bench import Bench, Part
from openjepa.evaluation.bins import classes_of, count_classes, distance_classes
from openjepa.evaluation.dense import Dense, depth_rows, mean_iou, segment_rows
from openjepa.evaluation.protocol import named, result_of
from openjepa.evaluation.results import Result, mean_of
from openjepa.evaluation.ridge import ridge
from openjepa.evaluation.variants import validation_split

Results = Iterator[Result]


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
        kind = {"depth": "depth", "segment": "mask"}.get(task)
        if kind and not getattr(targets, kind):
            raise UsageError(f"{task} needs maps, and {source} has none: give --{kind}s FOLDER, or scenes")


def count(bench: Bench) -> Results:
    """How many objects an image shows: as a class, and as a number."""
    require_targets("count", bench.train, bench.test)
    counts = [
        np.array([part.targets.annotations[path].count for path in bench.paths(part)], np.float64)
        for part in (bench.train, bench.test)
    ]
    edges, names = count_classes(counts[0])
    yield _quantity(bench, "count", counts, edges, names)
    yield _number(bench, "count-error", counts)


def distance(bench: Bench) -> Results:
    """How far away the nearest object is, in classes."""
    require_targets("distance", bench.train, bench.test)
    distances = [
        np.array([part.targets.annotations[path].distance for path in bench.paths(part)])
        for part in (bench.train, bench.test)
    ]
    edges = np.asarray(bench.train.targets.edges)
    yield _quantity(bench, "distance", distances, edges, distance_classes(edges))


def _quantity(bench: Bench, task: str, values: list[np.ndarray], edges: np.ndarray, names: list[str]) -> Result:
    labels, truth = (torch.from_numpy(classes_of(v, edges)) for v in values)
    if len(labels.unique()) < 2:
        raise UsageError(f"all training images fall in one class of {task} ({names[int(labels[0])]}): add others")
    result = result_of(task, bench.linear(task, labels), truth, bench.seed)
    return replace(result, protocol=result.protocol | {"classes": names, "commonest": _commonest(labels, truth)})


def _commonest(labels: torch.Tensor, truth: torch.Tensor) -> float:
    """The accuracy of always saying the commonest training class."""
    return float((truth == labels.mode().values).double().mean())


def _number(bench: Bench, task: str, values: list[np.ndarray]) -> Result:
    train, test = bench.features(bench.train)[0].last, bench.features(bench.test)[0].last
    numbers = torch.from_numpy(values[0]).float()[:, None]
    fit, validation = validation_split(len(train), bench.seed)
    head = ridge(train[fit], numbers[fit], train[validation], numbers[validation], bench.probe_device)
    errors = np.abs(head.predict(test)[:, 0].numpy() - values[1])
    protocol = {"probe": "ridge regression", "strength": head.strengths[0], "train_images": len(train)}
    return Result(task, "MAE", mean_of(errors), protocol)


def depth(bench: Bench) -> Results:
    train, test = _dense(bench, "depth", "depth")
    fit, validation = validation_split(len(train.maps), bench.seed)
    squares, close, setting = depth_rows(train.rows(fit), train.rows(validation), test, bench.probe_device)
    protocol = {"probe": "linear on patch tokens", "train_images": len(train.maps), **setting}
    yield Result("depth", "RMSE", squares, protocol, root_mean)
    yield Result("depth-delta1", "delta1", close, protocol)


def root_mean(sums: np.ndarray) -> np.ndarray:
    """The root of a mean, from sums [..., 2] of squares and their number."""
    return np.sqrt(sums[..., 0] / np.maximum(sums[..., 1], 1))


def segment(bench: Bench) -> Results:
    train, test = _dense(bench, "segment", "mask")
    fit, validation = validation_split(len(train.maps), bench.seed)
    rows, setting = segment_rows(train.rows(fit), train.rows(validation), test, bench.seed, bench.probe_device)
    protocol = {"probe": "linear on patch tokens", "train_images": len(train.maps), **setting}
    protocol |= {"classes": list(bench.train.targets.parts)} if bench.train.targets.parts else {}
    yield Result("segment", "mIoU", rows, protocol, mean_iou)


def _dense(bench: Bench, task: str, kind: str) -> list[Dense]:
    require_targets(task, bench.train, bench.test)
    return [bench.dense(part, getattr(part.targets, kind)) for part in (bench.train, bench.test)]


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
        yield _skill(f"semantics:{label}", result, _commonest(labels, truth))
    annotations = [*bench.train.targets.annotations.values(), *bench.test.targets.annotations.values()]
    if annotations and not bench.train.dataset.labels:
        tasks = [count] if any(a.distance is None for a in annotations) else [count, distance]
        for result in (result for task in tasks for result in task(bench) if result.metric == "accuracy"):
            yield _skill(f"semantics:{result.task}", result, result.protocol["commonest"])


def _skill(name: str, result: Result, commonest: float) -> Result:
    def skill(sums: np.ndarray) -> np.ndarray:
        return (sums[..., 0] / sums[..., 1] - commonest) / max(1 - commonest, 1e-9)

    return Result(name, "skill", result.rows, result.protocol | {"commonest": commonest}, skill)
