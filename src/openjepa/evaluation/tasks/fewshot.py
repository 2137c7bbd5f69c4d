"""fewshot: a linear classifier from few labels (1 %, 10 %, or k images a class), drawn several times."""

import re
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from openjepa.data.dataset import UNLABELLED
from openjepa.errors import UsageError
from openjepa.evaluation.probes.logistic import linear_probe
from openjepa.evaluation.results import Result, named
from openjepa.evaluation.session import Session
from openjepa.evaluation.task import Task
from openjepa.rng import SAMPLES, generator

DRAWS = 5
STRENGTHS = tuple(10.0**k for k in range(-4, 3))


def run(session: Session) -> Iterator[Result]:
    """Softmax regression on a few labelled images, over five draws of them."""
    for answers in session.labels():
        (train, test), labels, truth, label = answers.embeddings, answers.labels, answers.truth, answers.name
        for shot in session.shots:
            correct, strengths = [], []
            for draw in range(DRAWS):
                rows = draw_shots(labels.numpy(), shot, session.seed, draw, answers.names)
                predictions, strength = fit_shots(train[rows], labels[rows], test, session.seed, session.probe_device)
                correct.append((predictions == truth).double())
                strengths.append(strength)
            protocol = {"probe": "softmax regression", "draws": DRAWS, "C": strengths, "train_images": len(rows)}
            scores = np.stack(correct)
            draws = scores.mean(1).tolist()
            yield answers.result(named(f"fewshot-{shot}", label), torch.from_numpy(scores.mean(0)), protocol, draws)


def check(session: Session) -> list[str]:
    """Raise UsageError if a class has fewer images than --shots requires."""
    dataset = session.train.dataset
    for label in set(dataset.labels) & set(session.test.dataset.labels) - session.unmeasured:
        values = dataset.labels[label]
        for shot in session.shots:
            draw_shots(values[values != UNLABELLED], shot, session.seed, 0, dataset.classes[label])
    return []


def parse_shots(text: str) -> tuple[str, ...]:
    """ "1%,10%,10" as ("1%", "10%", "10"); raises UsageError."""
    shots = tuple(part.strip() for part in text.split(",") if part.strip())
    for shot in shots:
        number = float(shot.rstrip("%")) if re.fullmatch(r"\d+(\.\d+)?%?", shot) else 0.0
        if not (0 < number < 100 if shot.endswith("%") else number >= 1 and number.is_integer()):
            raise UsageError(f"--shots {shot} is not understood: give images a class (10) or a percentage of them (1%)")
    if not shots:
        raise UsageError("--shots is empty: give images a class (10) or a percentage of them (1%), with commas between")
    return shots


def draw_shots(labels: np.ndarray, shot: str, seed: int, draw: int, names: Sequence[str]) -> np.ndarray:
    """Sorted indices of a labelled few: `shot` images of each class, or a percentage of each but at least one.

    The same for (seed, draw). Raises UsageError if a class has too few images.
    """
    order = generator(seed, SAMPLES, 1 + draw).permutation(len(labels))
    chosen = []
    for label in np.unique(labels):
        members = order[labels[order] == label]
        k = max(1, round(len(members) * float(shot[:-1]) / 100)) if shot.endswith("%") else int(shot)
        if k > len(members):
            raise UsageError(
                f"--shots {shot} asks for more images than class {names[label]} has ({len(members)}): "
                "give fewer, or add images"
            )
        chosen.append(members[:k])
    return np.sort(np.concatenate(chosen))


def fit_shots(
    x: Tensor, y: Tensor, test_x: Tensor, seed: int, device: torch.device | str = "cpu"
) -> tuple[Tensor, float]:
    """Predictions [m] of softmax regression on a few images x [n, D], and the C used.

    With three images a class or more, C is chosen on a third of them, and the probe is then fitted on all; with fewer
    it is 1.
    """
    strength = 1.0
    if y.unique(return_counts=True)[1].min() >= 3:
        held = _third_of_each_class(y, seed)
        parts = x[~held], y[~held], x[held], y[held]
        chosen = linear_probe(*parts, x[held], seed, inverse_strengths=STRENGTHS, device=device)
        strength = 1 / (chosen.setting["l2"] * int((~held).sum()))
    probe = linear_probe(x, y, x, y, test_x, seed, inverse_strengths=(strength,), device=device)
    return probe.predictions, strength


def _third_of_each_class(y: Tensor, seed: int) -> Tensor:
    order = torch.from_numpy(generator(seed, SAMPLES).permutation(len(y)))
    held = torch.zeros(len(y), dtype=torch.bool)
    for label in y.unique():
        members = order[y[order] == label]
        held[members[: len(members) // 3]] = True
    return held


TASK = Task("fewshot", "Linear classifier from few labels (--shots)", run, check=check)
