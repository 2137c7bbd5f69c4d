"""Greedy soups: a model joins where the accuracy on held-out images does not fall by it."""

from collections.abc import Callable, Sequence
from statistics import fmean

import torch

from openjepa.console import log, working
from openjepa.data.dataset import ImageDataset
from openjepa.encoder.encoder import Encoder
from openjepa.encoder.feature_cache import FeatureStore
from openjepa.evaluation.probes.best_linear import ONE_PROBE
from openjepa.evaluation.run_tasks import measure
from openjepa.evaluation.session import Part, Session
from openjepa.evaluation.splits import check_labels
from openjepa.interop.ensembles.member import Member
from openjepa.models.vit import VisionTransformer
from openjepa.studies.ensemble.soup import averaged
from openjepa.studies.trial import split_labelled

Score = Callable[[VisionTransformer], float]


def scorer(
    member: Member, dataset: ImageDataset, seed: int, workers: int, device: torch.device, precision: torch.dtype
) -> Score:
    """A function from a network to the accuracy of a linear probe on a third of the images, which it is not fitted to.

    Networks read images as `member` does. Raises UsageError where the images have no labels, or too few.
    """
    check_labels(dataset, dataset)
    fit, held = (Part(part) for part in split_labelled(dataset, seed))
    source, store = member.plain, FeatureStore(None, workers)

    def score(network: VisionTransformer) -> float:
        how = device, precision, source.pixel_format, source.max_stretch
        model = Encoder(network, source.mean, source.std, "encoder", *how)
        results = measure(Session(model, fit, held, store, seed, probes=ONE_PROBE), ["linear"])
        return fmean(float(result.rows[:, 0].mean()) for result in results)  # over the labels

    return score


def choose(members: Sequence[Member], score: Score) -> tuple[list[Member], list[float]]:
    """The members of the soup, the best one first, and the accuracy after each. Logs what joins and what does not."""
    with working("measuring every member"):
        alone = [score(member.vit) for member in members]
    order = sorted(range(len(members)), key=lambda row: -alone[row])
    chosen, scores = [members[order[0]]], [alone[order[0]]]
    log(f"{chosen[0].name}: {scores[0]:.1%} on held-out images, the best of {len(members)}")
    for row in order[1:]:
        candidate = [*chosen, members[row]]
        with working(f"adding {members[row].name}"):
            found = score(averaged([member.vit for member in candidate]))
        joins = found >= scores[-1]
        log(
            f"{members[row].name}: {alone[row]:.1%} alone; with it the soup has {found:.1%}: "
            f"{'it joins' if joins else 'it is left out'}"
        )
        if joins:
            chosen, scores = candidate, [*scores, found]
    return chosen, scores
