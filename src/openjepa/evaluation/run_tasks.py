"""The steps of every measurement: check what the tasks need, compute the features, run the tasks."""

from collections.abc import Iterable

from openjepa.encoder.features import Model
from openjepa.evaluation.results import Result
from openjepa.evaluation.session import Progress, Session, no_progress
from openjepa.evaluation.tasks.registry import TASKS


def check(session: Session, tasks: Iterable[str]) -> list[str]:
    """Raise UsageError where a task cannot be done with the images of a session; else lines for the user."""
    remarks = []
    for task in (TASKS[name] for name in tasks):
        for need in task.needs:
            for part in (session.train, session.test):
                need.check(task.name, part)
        remarks += task.check(session)
    return list(dict.fromkeys(remarks))


def check_models(models: Iterable[Model], tasks: Iterable[str]) -> None:
    """Raise UsageError where a task cannot be done with one of the models."""
    for task in (TASKS[name] for name in tasks):
        for model in models:
            task.reads.check(task.name, model)


def fetch(session: Session, tasks: Iterable[str], progress: Progress = no_progress) -> None:
    """Compute the features that tasks read. With several processes, all of them have to call this."""
    for name in tasks:
        TASKS[name].fetch(session, progress)


def measure(session: Session, tasks: Iterable[str]) -> list[Result]:
    """The results of tasks, in order."""
    return [result for name in tasks for result in TASKS[name].run(session)]
