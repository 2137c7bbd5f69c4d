"""count: how many objects an image shows, as a class and as a number."""

from collections.abc import Iterator

import numpy as np

from openjepa.evaluation.annotations.quantities import (
    about_kind,
    count_classes,
    counts_of,
    never_shown,
    quantity_result,
    regression,
)
from openjepa.evaluation.results import Result, mean_of
from openjepa.evaluation.session import Answers, Session
from openjepa.evaluation.task import Need, Task


def run(session: Session) -> Iterator[Result]:
    answers = count_classes(session)
    yield quantity_result(session, answers)
    yield _count_error(session, answers)


def _count_error(session: Session, answers: Answers) -> Result:
    """The mean error of ridge regression, in objects."""
    fitted = regression(session, answers)
    protocol = {"probe": "ridge regression", "strength": fitted.head.strengths[0], "train_images": len(fitted.counts)}
    protocol |= {"unit": "objects"}
    found = Result("count-error", "mean error", mean_of(fitted.errors), protocol | about_kind(session))
    mean = fitted.counts.mean()
    return found.beside(mean_of(np.abs(mean - fitted.truth)), f"always {mean:.3g}, the mean")


def remarks(session: Session) -> list[str]:
    """A warning where test images show counts that probes cannot have learned."""
    train, test = (counts_of(part, part.dataset.paths) for part in (session.train, session.test))
    train, test = (values[~np.isnan(values)] for values in (train, test))
    unseen = test[never_shown(train, test)]
    if not len(unseen):
        return []
    return [
        f"warning: {len(unseen):,} of {len(test):,} test images show counts that no training image shows (from "
        f"{unseen.min():g} to {unseen.max():g}), and are never right: give parts that show the same counts"
    ]


TASK = Task("count", "Number of objects", run, (Need.COUNTS,), check=remarks)
