"""depth: the depth of each pixel, by linear regression on patch tokens."""

from collections.abc import Iterator

import numpy as np
import torch

from openjepa.evaluation.probes.best_linear import validation_split
from openjepa.evaluation.probes.dense import depth_errors, depth_rows
from openjepa.evaluation.results import Result
from openjepa.evaluation.session import Progress, Session
from openjepa.evaluation.task import Need, Reads, Task


def fetch(session: Session, progress: Progress) -> None:
    for part in (session.train, session.test):
        session.dense_tokens(part, "depth", progress)


def run(session: Session) -> Iterator[Result]:
    train, test = session.dense("depth")
    fit, validation = validation_split(len(train.maps), session.seed)
    squares, close, setting = depth_rows(train.rows(fit), train.rows(validation), test, session.probe_device)
    protocol = {"probe": "linear on patch tokens", "train_images": len(train.maps), **setting}
    mean = float(train.maps[train.maps.isfinite()].mean())
    constants, answer = depth_errors(torch.full_like(test.maps, mean), test.maps), f"always {mean:.3g}, the mean"
    found = Result("depth", "RMSE", squares, protocol | {"unit": "units of the maps"}, root_mean)
    yield found.beside(constants[0], answer)
    yield Result("depth-delta1", "delta1", close, protocol).beside(constants[1], answer)


def root_mean(sums: np.ndarray) -> np.ndarray:
    """The root of a mean, from sums [..., 2] of squares and their number."""
    return np.sqrt(sums[..., 0] / np.maximum(sums[..., 1], 1))


TASK = Task("depth", "Depth of each pixel, from patch tokens", run, (Need.DEPTHS,), fetch, reads=Reads.TOKENS)
