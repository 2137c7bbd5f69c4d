"""The steps of every measurement: check what the tasks need, compute the features, run the tasks."""

from collections.abc import Callable, Iterable

from openjepa.errors import UsageError
from openjepa.evaluation.probes.dense import check_first_map
from openjepa.evaluation.results import Result
from openjepa.evaluation.session import Part, Progress, Session, no_progress
from openjepa.evaluation.targets import Map
from openjepa.evaluation.tasks.registry import TASKS, Need


def check(session: Session, tasks: Iterable[str]) -> list[str]:
    """Raise UsageError where a task cannot be done with the images of a session; else remarks for the user."""
    remarks = []
    for task in (TASKS[name] for name in tasks):
        for need in task.needs:
            for part in (session.train, session.test):
                CHECKS[need](task.name, part)
        task.check(session)
        remarks += task.remarks(session)
    return list(dict.fromkeys(remarks))


def fetch(session: Session, tasks: Iterable[str], progress: Progress = no_progress) -> None:
    """Compute the features that tasks read. With several processes, all of them have to call this."""
    for name in tasks:
        TASKS[name].fetch(session, progress)


def measure(session: Session, tasks: Iterable[str]) -> list[Result]:
    """The results of tasks, in order."""
    return [result for name in tasks for result in TASKS[name].run(session)]


def _check_counts(task: str, part: Part) -> None:
    if not part.targets.annotations:
        raise UsageError(
            f"{task} needs objects, and {part.dataset.source} has none: give --annotations (CLEVR, COCO, VOC or CSV), "
            "or scenes"
        )


def _check_distances(task: str, part: Part) -> None:
    _check_counts(task, part)
    unknown = [part.targets.annotations[path].distance for path in part.dataset.paths].count(None)
    if unknown:
        raise UsageError(
            f"{task} needs depths, and {unknown:,} images of {part.dataset.source} have objects without: "
            "give CLEVR scenes, or drawn scenes"
        )


def _check_maps(task: str, part: Part, maps: Map | None, option: str) -> None:
    if maps is None:
        raise UsageError(f"{task} needs maps, and {part.dataset.source} has none: give {option} FOLDER, or scenes")
    check_first_map(maps, part.dataset)


CHECKS: dict[Need, Callable[[str, Part], None]] = {
    # Classes are checked on the whole data set, before it is split: `splits.check_labels`.
    Need.CLASSES: lambda task, part: None,
    Need.COUNTS: _check_counts,
    Need.DISTANCES: _check_distances,
    Need.DEPTHS: lambda task, part: _check_maps(task, part, part.targets.depth, "--depths"),
    Need.MASKS: lambda task, part: _check_maps(task, part, part.targets.mask, "--masks"),
}
