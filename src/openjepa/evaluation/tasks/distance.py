"""distance: how far away the nearest object is, in classes."""

from collections.abc import Iterator

from openjepa.evaluation.annotations.quantities import distance_classes, quantity_result
from openjepa.evaluation.results import Result
from openjepa.evaluation.session import Session
from openjepa.evaluation.task import Need, Task


def run(session: Session) -> Iterator[Result]:
    yield quantity_result(session, distance_classes(session))


TASK = Task("distance", "Distance of the nearest object", run, (Need.DISTANCES,))
