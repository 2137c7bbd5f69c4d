"""finetune, fewshot-finetune: the whole network is trained on labels, deeper layers faster than early ones."""

from collections.abc import Iterator

import numpy as np
import torch

from openjepa.data.batches import Batches, load_batches
from openjepa.data.dataset import ImageDataset
from openjepa.encoder.encoder import Encoder
from openjepa.encoder.features import read_by
from openjepa.evaluation.finetuning.objective import Kind, Objective
from openjepa.evaluation.finetuning.tuner import Tuner, TuningPlan
from openjepa.evaluation.results import Result, named
from openjepa.evaluation.session import Session
from openjepa.evaluation.task import Reads, Task
from openjepa.evaluation.tasks.fewshot import check, draw_shots

CROP = 0.35, 1.0
BATCH, LEAST_STEPS = 64, 60
SMOOTHING = 0.1


def run(session: Session) -> Iterator[Result]:
    """On all training images. Raw pixels have no network to train, and no result."""
    yield from _results(session, "finetune", None)


def run_few(session: Session) -> Iterator[Result]:
    """On one draw of the few images."""
    for shot in session.shots:
        yield from _results(session, f"finetune-{shot}", shot)


def _results(session: Session, task: str, shot: str | None) -> Iterator[Result]:
    if not isinstance(session.model, Encoder):
        return
    workers = session.store.workers
    for answers in session.labels():
        names, y = answers.names, answers.labels.numpy()
        test = session.test.dataset.subset(answers.test_rows)
        rows = draw_shots(y, shot, session.seed, 0, names) if shot else np.arange(len(y))
        images = session.train.dataset.subset(answers.train_rows[rows])
        tuned = finetune(session.model, images, y[rows], len(names), session.epochs, session.seed, workers)
        plan, batch_size = tuned.plan, min(BATCH, len(rows))
        protocol = {"steps": plan.steps, "batch_size": batch_size, "epochs": plan.steps * batch_size / len(rows)}
        protocol |= {"learning_rate": plan.lr, "weight_decay": plan.weight_decay, "layer_decay": plan.layer_decay}
        protocol |= {"draws": 1, "seed": session.seed, "train_images": len(rows)}
        correct = tuned.all_outputs(test, workers)[0].argmax(1) == answers.truth
        yield answers.result(named(task, answers.name), correct, protocol)


def finetune(
    encoder: Encoder, dataset: ImageDataset, labels: np.ndarray, classes: int, epochs: float, seed: int, workers: int
) -> Tuner:
    """A copy of the encoder with a head, trained to classify by random crops and mirroring.

    At least 60 steps, because the head starts at zero. Every image of `dataset` must be readable; labels [n] int64
    from 0 to classes - 1.
    """
    images, size = read_by(encoder, dataset), min(BATCH, len(labels))
    crops = Batches(images, None, encoder.image_size, CROP, size, seed, horizontal_flip=True)
    steps = max(LEAST_STEPS, round(epochs * len(labels) / size))
    tuner = Tuner(encoder, Objective(Kind.CLASS, classes, SMOOTHING), TuningPlan(steps, seed=seed))
    answers = torch.from_numpy(labels)
    for step, batch in enumerate(load_batches(crops, 0, steps, workers, encoder.device)):
        tuner.step(step, batch, answers[batch.indices])
    return tuner


TASK = Task("finetune", "The whole network trained on the labels", run, reads=Reads.NETWORK)
FEWSHOT_TASK = Task(
    "fewshot-finetune", "The whole network trained on few labels (--shots)", run_few, check=check, reads=Reads.NETWORK
)
