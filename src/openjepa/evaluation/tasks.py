"""Every task by its name."""

from collections.abc import Callable, Iterable

from openjepa.evaluation import class_tasks, quantity_tasks
from openjepa.evaluation.bench import Bench
from openjepa.evaluation.results import Result

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
