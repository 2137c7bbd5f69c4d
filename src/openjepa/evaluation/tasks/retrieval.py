"""retrieval: search by image. Are the most similar training images of the class of the test image?"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from openjepa.evaluation.probes.logistic import require_finite
from openjepa.evaluation.results import Result, mean_of, named
from openjepa.evaluation.session import Session
from openjepa.evaluation.task import Task

HELD_ELEMENTS = 2**22


def run(session: Session) -> Iterator[Result]:
    for answers in session.labels():
        (train, test), label, labels = answers.embeddings, answers.name, answers.labels
        hits, precision = retrieve(train, labels, test, answers.truth, device=session.probe_device)
        protocol = {"similarity": "cosine", "gallery": "train", "train_images": len(labels)}
        chance = {k: recall_by_chance(labels, answers.truth, k) for k in hits}
        for k, hit in hits.items():
            found = Result(named(f"recall@{k}", label), "recall", mean_of(hit), protocol)
            yield found.beside(mean_of(chance[k]), "any order: all are equally similar")
        found = Result(named("mAP", label), "mAP", mean_of(precision), protocol)
        yield found.beside(mean_of(fractions(labels, answers.truth)), "any order: all are equally similar")


def retrieve(
    gallery_x: Tensor,
    gallery_y: Tensor,
    query_x: Tensor,
    query_y: Tensor,
    ks: tuple[int, ...] = (1, 10),
    device: torch.device | str = "cpu",
) -> tuple[dict[int, Tensor], Tensor]:
    """For each query [m]: whether any of its k nearest gallery images is of its class, by k; and average precision.

    Nearness is the cosine. Average precision is the mean, over the gallery images of the query's class, of the
    fraction of that class among the images as near or nearer (Manning et al. 2008, Introduction to Information
    Retrieval, 8.4); 0 for a class that the gallery lacks. gallery_x [n, D], query_x [m, D] float32; labels int64.
    """
    require_finite(gallery_x, query_x)
    bank, most = normalize(gallery_x).T.to(device), min(max(ks), len(gallery_x))
    hits = torch.zeros(len(query_x), most, dtype=torch.bool, device="cpu")
    precisions = torch.zeros(len(query_x), device="cpu")
    for label in query_y.unique():
        of_class = gallery_y == label
        for rows in (query_y == label).nonzero()[:, 0].split(max(1, HELD_ELEMENTS // len(gallery_x))):
            similarity = normalize(query_x[rows]).to(device) @ bank
            hits[rows] = of_class[similarity.topk(most, dim=1).indices.cpu()]
            precisions[rows] = average_precision(similarity, of_class.to(device)).cpu()
    return {k: hits[:, :k].any(1) for k in ks}, precisions


def average_precision(similarity: Tensor, relevant: Tensor) -> Tensor:
    """[m] float32 from the similarity [m, n] of images to queries, of which `relevant` [n] bool are of their class."""
    if not relevant.any():
        return similarity.new_zeros(len(similarity))
    everything, wanted = ascending(similarity), ascending(similarity[:, relevant])
    as_near = len(relevant) - torch.searchsorted(everything, wanted)
    as_near_and_wanted = wanted.shape[1] - torch.searchsorted(wanted, wanted)
    return (as_near_and_wanted / as_near).mean(1)


def fractions(gallery_y: Tensor, query_y: Tensor) -> np.ndarray:
    """The fraction [m] of the gallery that is of each query's class."""
    return np.array([float((gallery_y == label).double().mean()) for label in query_y.unique()])[
        query_y.unique(return_inverse=True)[1].numpy()
    ]


def recall_by_chance(gallery_y: Tensor, query_y: Tensor, k: int) -> np.ndarray:
    """The chance [m] that one of k different gallery images at random is of each query's class."""
    n, others = len(gallery_y), np.rint((1 - fractions(gallery_y, query_y)) * len(gallery_y))
    missed = np.ones(len(query_y))
    for drawn in range(min(k, n)):
        missed *= np.maximum(others - drawn, 0) / (n - drawn)
    return 1 - missed


def ascending(values: Tensor) -> Tensor:
    """Each row sorted; on a CPU by numpy, which does that more than ten times as fast as torch."""
    if values.device.type != "cpu":
        return values.sort(dim=1).values
    return torch.from_numpy(np.sort(values.numpy(), axis=1))


TASK = Task("retrieval", "Search by image: recall and mean average precision", run)
