"""knn, knn-whitened: a vote of the 20 nearest training images. Nothing is trained."""

from collections.abc import Iterator

from openjepa.encoder.whitening import LEAST_IMAGES, POWER, Whitening
from openjepa.errors import UsageError
from openjepa.evaluation.probes.knn import knn_predict
from openjepa.evaluation.results import Result, named
from openjepa.evaluation.session import Answers, Session
from openjepa.evaluation.task import Task

NEIGHBOURS, TEMPERATURE = 20, 0.07


def run(session: Session) -> Iterator[Result]:
    for answers in session.labels():
        yield _result("knn", answers, None, session)


def run_whitened(session: Session) -> Iterator[Result]:
    """Nothing of a model with more numbers than can be whitened, such as raw pixels."""
    for answers in session.labels():
        if whitening := Whitening.fit(answers.train.last):
            yield _result("knn-whitened", answers, whitening, session)


def check_whitened(session: Session) -> list[str]:
    """Raise UsageError for too few training images."""
    if len(session.train.dataset) < LEAST_IMAGES:
        raise UsageError(
            f"knn-whitened needs {LEAST_IMAGES} images to learn from, and {session.train.dataset.source} has "
            f"{len(session.train.dataset):,}: give more"
        )
    return []


def _result(name: str, answers: Answers, whitening: Whitening | None, session: Session) -> Result:
    (train, test), labels = answers.embeddings, answers.labels
    if whitening:
        train, test = whitening(train), whitening(test)
    predictions = knn_predict(train, labels, test, NEIGHBOURS, TEMPERATURE, session.probe_device)
    protocol = {"probe": "k-NN by cosine", "k": NEIGHBOURS, "temperature": TEMPERATURE, "train_images": len(labels)}
    protocol |= {"whitening": f"attenuated, t = {POWER}, fitted to the training images"} if whitening else {}
    return answers.result(named(name, answers.name), predictions == answers.truth, protocol)


TASK = Task("knn", "Vote of the 20 nearest training images", run)
WHITENED_TASK = Task(
    "knn-whitened", "The same of whitened embeddings, as search uses them", run_whitened, check=check_whitened
)
