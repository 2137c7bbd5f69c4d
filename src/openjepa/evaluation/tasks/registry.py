"""The evaluation tasks by name. To add one, write one file in this folder and one entry here."""

from openjepa.evaluation.task import Task
from openjepa.evaluation.tasks import (
    appearance,
    attentive,
    count,
    depth,
    distance,
    fewshot,
    finetune,
    knn,
    linear,
    retrieval,
    robustness,
    segment,
)

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        linear.TASK,
        knn.TASK,
        knn.WHITENED_TASK,
        fewshot.TASK,
        retrieval.TASK,
        appearance.TASK,
        count.TASK,
        distance.TASK,
        depth.TASK,
        segment.TASK,
        robustness.TASK,
        attentive.TASK,
        finetune.TASK,
        finetune.FEWSHOT_TASK,
    )
}
