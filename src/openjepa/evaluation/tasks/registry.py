"""The evaluation tasks by name: what each measures and what it needs. The code of each is a module of this folder."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openjepa.evaluation.results import Result
    from openjepa.evaluation.session import Progress, Session


class Need(StrEnum):
    """What must be known of the images besides their pixels."""

    CLASSES = "classes"
    COUNTS = "counted objects"
    DISTANCES = "objects with distances"
    DEPTHS = "depth maps"
    MASKS = "class masks"


def imported(function: str) -> Callable[..., Any]:
    """A function of a module of this folder ("module.name"), imported when it is called.

    So that `evaluate --help` can list the tasks without PyTorch.
    """
    module, name = function.split(".")

    def call(*arguments: Any) -> Any:
        return getattr(import_module(f"{__package__}.{module}"), name)(*arguments)

    return call


def fetch_embeddings(session: "Session", progress: "Progress") -> None:
    for part in (session.train, session.test):
        session.features(part, progress)


def no_check(session: "Session") -> None:
    pass


def no_remarks(session: "Session") -> list[str]:
    return []


@dataclass(frozen=True)
class Task:
    """A measurement of a model on the images of a session.

    name     on the command line
    help     one line: what is measured
    run      the results, one or more
    needs    what must be known of the images
    fetch    computes the features that `run` reads; several processes share this part of the work
    check    raises UsageError, before anything is computed, for a further condition
    remarks  lines for the user, before anything is computed
    """

    name: str
    help: str
    run: Callable[["Session"], Iterable["Result"]]
    needs: tuple[Need, ...] = (Need.CLASSES,)
    fetch: Callable[["Session", "Progress"], None] = fetch_embeddings
    check: Callable[["Session"], None] = no_check
    remarks: Callable[["Session"], list[str]] = no_remarks


TASKS = {
    task.name: task
    for task in (
        Task("linear", "Linear classifier of the embedding", imported("linear.run")),
        Task("knn", "Vote of the 20 nearest training images", imported("knn.run")),
        Task(
            "fewshot",
            "Linear classifier from few labels (--shots)",
            imported("fewshot.run"),
            check=imported("fewshot.check"),
        ),
        Task("retrieval", "Search by image: recall and mean average precision", imported("retrieval.run")),
        Task(
            "probe-appearance",
            "Colour, brightness, texture and position beside semantics",
            imported("appearance.run"),
            needs=(),
            fetch=imported("appearance.fetch"),
            remarks=imported("appearance.remarks"),
        ),
        Task(
            "count",
            "Number of objects",
            imported("count.run"),
            needs=(Need.COUNTS,),
            remarks=imported("count.remarks"),
        ),
        Task("distance", "Distance of the nearest object", imported("distance.run"), needs=(Need.DISTANCES,)),
        Task(
            "depth",
            "Depth of each pixel, from patch tokens",
            imported("depth.run"),
            needs=(Need.DEPTHS,),
            fetch=imported("depth.fetch"),
        ),
        Task(
            "segment",
            "Class of each pixel, from patch tokens",
            imported("segment.run"),
            needs=(Need.MASKS,),
            fetch=imported("depth.fetch"),
        ),
        Task(
            "robustness",
            "Linear classifier on corrupted images",
            imported("robustness.run"),
            fetch=imported("robustness.fetch"),
        ),
        Task(
            "attentive",
            "Attention over all patch tokens",
            imported("attentive.run"),
            fetch=imported("attentive.fetch"),
        ),
        Task("finetune", "The whole network trained on the labels", imported("finetune.run")),
        Task(
            "fewshot-finetune",
            "The whole network trained on few labels (--shots)",
            imported("finetune.run_few"),
            check=imported("fewshot.check"),
        ),
    )
}
