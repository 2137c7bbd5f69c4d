"""knn: a vote of the 20 nearest training images. Nothing is trained."""

from collections.abc import Iterator

from openjepa.evaluation.probes.knn import knn_predict
from openjepa.evaluation.results import Result, named
from openjepa.evaluation.session import Session
from openjepa.evaluation.task import Task

NEIGHBOURS, TEMPERATURE = 20, 0.07


def run(session: Session) -> Iterator[Result]:
    for answers in session.labels():
        (train, test), labels = answers.embeddings, answers.labels
        predictions = knn_predict(train, labels, test, NEIGHBOURS, TEMPERATURE, session.probe_device)
        protocol = {"probe": "k-NN by cosine", "k": NEIGHBOURS, "temperature": TEMPERATURE, "train_images": len(labels)}
        yield answers.result(named("knn", answers.name), predictions == answers.truth, protocol)


TASK = Task("knn", "Vote of the 20 nearest training images", run)
