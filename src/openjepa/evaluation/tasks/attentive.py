"""attentive: a learned query that attends to all patch tokens, and a linear classifier."""

from collections.abc import Iterator

from openjepa.data.dataset import UNLABELLED
from openjepa.evaluation.probes.attentive import attentive_probe
from openjepa.evaluation.probes.best_linear import validation_split
from openjepa.evaluation.results import Result, mean_of, named
from openjepa.evaluation.session import Progress, Session
from openjepa.evaluation.splits import aligned_labels
from openjepa.evaluation.task import Reads, Task


def fetch(session: Session, progress: Progress) -> None:
    for part in (session.train, session.test):
        session.tokens(part, progress)


def run(session: Session) -> Iterator[Result]:
    (train, rows), (test, test_rows) = session.tokens(session.train), session.tokens(session.test)
    like = session.train.dataset
    labels, truths = aligned_labels(like, like, rows), aligned_labels(session.test.dataset, like, test_rows)
    for label, truth in truths.items():
        if label in session.unmeasured:
            continue
        known, asked = ((found != UNLABELLED).nonzero()[:, 0] for found in (labels[label], truth))
        fit, validation = (known[rows] for rows in validation_split(len(known), session.seed))
        y, truth = labels[label], truth[asked]
        parts = train[fit], y[fit], train[validation], y[validation], test if len(asked) == len(test) else test[asked]
        probe = attentive_probe(*parts, session.seed, session.device)
        protocol = {"probe": "attentive", "validation_accuracy": probe.val_accuracy, **probe.setting}
        protocol |= {"train_images": len(known)}
        found = Result(named("attentive", label), "accuracy", mean_of(probe.predictions == truth), protocol)
        commonest = y[known].mode().values
        yield found.beside(mean_of(truth == commonest), f"always {like.classes[label][int(commonest)]}")


TASK = Task("attentive", "Attention over all patch tokens", run, fetch=fetch, reads=Reads.TOKENS)
