"""The steps of every measurement: check what the tasks need, compute the features, run the tasks."""

from collections.abc import Iterable, Sequence

from openjepa.encoder.features import Model
from openjepa.errors import UsageError
from openjepa.evaluation.results import Result
from openjepa.evaluation.session import Progress, Session, no_progress
from openjepa.evaluation.task import Task
from openjepa.evaluation.tasks.registry import TASKS


def check(session: Session, tasks: Iterable[str]) -> list[str]:
    """Raise UsageError where a task cannot be done with the images of a session; else lines for the user.

    The message names the tasks that can be done, if there are any.
    """
    remarks, possible, refusals = [], [], list[UsageError]()
    for name in tasks:
        try:
            remarks += _check(session, TASKS[name])
            possible.append(name)
        except UsageError as error:
            refusals.append(error)
    if refusals and possible:
        raise UsageError(f"{refusals[0]}; or measure the rest with --tasks {','.join(possible)}") from refusals[0]
    if refusals:
        raise refusals[0]
    return list(dict.fromkeys(remarks))


def check_models(models: Sequence[Model], tasks: Iterable[str]) -> None:
    """Raise UsageError where a task cannot be done with one of the models, of which baselines come first."""
    for task in (TASKS[name] for name in tasks):
        for model in reversed(models):  # so that the message names a model of the user's
            task.reads.check(task.name, model)


def _check(session: Session, task: Task) -> list[str]:
    for need in task.needs:
        for part in (session.train, session.test):
            need.check(task.name, part)
    return task.check(session)


def fetch(session: Session, tasks: Iterable[str], progress: Progress = no_progress) -> None:
    """Compute the features that tasks read. With several processes, all of them have to call this."""
    for name in tasks:
        TASKS[name].fetch(session, progress)


def measure(session: Session, tasks: Iterable[str]) -> list[Result]:
    """The results of tasks, in order."""
    return [result for name in tasks for result in TASKS[name].run(session)]
