"""segment: the class of each pixel, by a linear classifier of patch tokens."""

from collections.abc import Iterator

from openjepa.evaluation.probes.best_linear import validation_split
from openjepa.evaluation.probes.dense import commonest_rows, mean_iou, segment_rows
from openjepa.evaluation.results import Result
from openjepa.evaluation.session import Progress, Session
from openjepa.evaluation.task import Need, Reads, Task


def fetch(session: Session, progress: Progress) -> None:
    for part in (session.train, session.test):
        session.dense_tokens(part, "mask", progress)


def run(session: Session) -> Iterator[Result]:
    train, test = session.dense("mask")
    fit, validation = validation_split(len(train.maps), session.seed)
    parts = train.rows(fit), train.rows(validation), test
    rows, setting = segment_rows(*parts, session.seed, session.probe_device)
    protocol = {"probe": "linear on patch tokens", "train_images": len(train.maps), **setting}
    names = session.train.targets.parts
    protocol |= {"classes": list(names)} if names else {}
    constant, number = commonest_rows(train, test)
    answer = f"always {names[number] if names else number}, the commonest class"
    yield Result("segment", "mIoU", rows, protocol, mean_iou).beside(constant, answer)


TASK = Task("segment", "Class of each pixel, from patch tokens", run, (Need.MASKS,), fetch, reads=Reads.TOKENS)
