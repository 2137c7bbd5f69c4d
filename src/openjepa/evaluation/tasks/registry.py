"""Every task by its name."""

from collections.abc import Callable, Iterable

from openjepa.evaluation.probes.dense import check_first_map
from openjepa.evaluation.results import Result
from openjepa.evaluation.session import Bench, Part
from openjepa.evaluation.tasks import class_tasks, quantity_tasks
from openjepa.evaluation.tasks.fewshot import draw_shots
from openjepa.evaluation.tasks.quantity_tasks import MAPS, require_targets

TASKS: dict[str, Callable[[Bench], Iterable[Result]]] = {
    "linear": class_tasks.linear,
    "knn": class_tasks.knn,
    "fewshot": class_tasks.fewshot,
    "retrieval": class_tasks.retrieval,
    "probe-appearance": quantity_tasks.appearance,
    "count": quantity_tasks.count,
    "distance": quantity_tasks.distance,
    "depth": quantity_tasks.depth,
    "segment": quantity_tasks.segment,
    "robustness": class_tasks.robustness,
    "attentive": class_tasks.attentive,
    "finetune": class_tasks.finetuned,
    "fewshot-finetune": class_tasks.fewshot_finetuned,
}
LABELLED = ("linear", "knn", "fewshot", "retrieval", "robustness", "attentive", "finetune", "fewshot-finetune")
PATCHES = ("attentive", "depth", "segment")  # look at patch tokens alone


def check_tasks(tasks: Iterable[str], shots: Iterable[str], seed: int, train: Part, test: Part) -> None:
    """Raise UsageError, before anything is computed, where a task cannot be done with these images."""
    for task in tasks:
        require_targets(task, train, test)
        for part in (train, test) if task in MAPS else ():
            check_first_map(getattr(part.targets, MAPS[task]), part.dataset)
        for label, values in train.dataset.labels.items() if task.startswith("fewshot") else ():
            for shot in shots:
                draw_shots(values, shot, seed, 0, train.dataset.classes[label])


def fetch(bench: Bench, tasks: Iterable[str]) -> None:
    """Compute the features that tasks will ask for: the part of the work that several processes share out."""
    asked = set(tasks)
    for part in (bench.train, bench.test):
        if asked - set(PATCHES):
            bench.features(part)
        if "attentive" in asked:
            bench.tokens(part)
        if asked & {"depth", "segment"}:
            bench.dense_tokens(part)
        if "probe-appearance" in asked:
            bench.looks(part)
    if "robustness" in asked:
        for worse in bench.asked_worse():
            bench.features_of(worse)
