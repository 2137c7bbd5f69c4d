"""linear: the best linear classifier of the embedding (appendix A.2 of the I-JEPA paper)."""

from collections.abc import Iterator

from openjepa.evaluation.results import Result, named
from openjepa.evaluation.session import Session
from openjepa.evaluation.task import Task


def run(session: Session) -> Iterator[Result]:
    for answers in session.labels():
        yield session.linear_result(named("linear", answers.name), answers)


TASK = Task("linear", "Linear classifier of the embedding", run)
