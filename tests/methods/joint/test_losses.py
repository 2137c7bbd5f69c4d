"""Losses and their gradients equal those of lightly, or formulas of the papers written out in float64."""

import pytest
import torch
import torch.nn.functional as F
from lightly.loss import (
    BarlowTwinsLoss,
    DINOLoss,
    LeJEPALoss,
    NegativeCosineSimilarity,
    NTXentLoss,
    SwaVLoss,
    VICRegLoss,
)

from openjepa.methods.joint import dino, lejepa, mocov3, swav
from openjepa.methods.joint.barlow import barlow_twins
from openjepa.methods.joint.simclr import TEMPERATURE, nt_xent
from openjepa.methods.joint.simsiam import both_directions
from openjepa.methods.joint.vicreg import vicreg


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def with_gradient(loss, values):
    values = values.clone().requires_grad_(True)
    value = loss(values)
    value.backward()
    return value.detach(), values.grad


def check(ours, theirs, values):
    for found, expected in zip(with_gradient(ours, values), with_gradient(theirs, values), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def halves(one, other):
    """The mean of both directions of lightly's negative cosine."""
    criterion = NegativeCosineSimilarity()
    return (criterion(one[0], other[1]) + criterion(one[1], other[0])) / 2


PAIRS = {
    "simclr": (nt_xent, lambda z: NTXentLoss(TEMPERATURE)(z[0], z[1])),
    "vicreg": (vicreg, lambda z: VICRegLoss()(z[0], z[1])),
    "barlow": (barlow_twins, lambda z: BarlowTwinsLoss()(z[0], z[1])),
    "simsiam": (
        lambda z: -both_directions(z, numbers(2, 8, 16, seed=1)),
        lambda z: halves(z, numbers(2, 8, 16, seed=1)),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_loss_and_gradient_are_those_of_lightly(name):
    check(*PAIRS[name], numbers(2, 8, 16))


def test_byol_is_the_squared_distance_of_unit_vectors():
    targets = F.normalize(numbers(2, 8, 16, seed=1), dim=-1)

    def expected(z):
        unit = F.normalize(z, dim=-1)
        return sum((unit[i] - targets[1 - i]).square().sum(dim=-1).mean() for i in (0, 1)) / 2

    check(lambda z: 2 - 2 * both_directions(z, targets), expected, numbers(2, 8, 16))


def test_mocov3_is_the_formula_of_algorithm_1():
    keys = numbers(8, 16, seed=1)

    def expected(queries):
        total = 0
        for i, query in enumerate(queries):
            cosines = [torch.dot(query, key) / (query.norm() * key.norm()) for key in keys]
            exps = [(cosine / 0.2).exp() for cosine in cosines]
            total = total - (exps[i] / sum(exps)).log()
        return 2 * 0.2 * total / len(queries)

    check(lambda z: mocov3.contrast(z, keys), expected, numbers(8, 16))


def test_dino_and_its_centre_are_those_of_lightly():
    targets, centre = numbers(2, 8, 12, seed=1), numbers(12, seed=2)
    theirs = DINOLoss(12, warmup_teacher_temp_epochs=0)
    theirs.center = centre.view(1, 1, -1).clone()
    ours, reference = (
        with_gradient(lambda z: dino.dino(z, targets, centre), numbers(5, 8, 12)),
        with_gradient(lambda z: theirs([*targets], [*z], epoch=1), numbers(5, 8, 12)),
    )
    for found, expected in zip(ours, reference, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    moved = centre.lerp(targets.mean(dim=(0, 1)), 1 - dino.CENTRE)
    torch.testing.assert_close(moved, theirs.center.flatten(), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("small", [0, 3])
def test_swav_is_that_of_lightly(small):
    scores = F.normalize(numbers(2 + small, 8, 12), dim=-1)
    check(lambda z: swav.swapped_prediction(z, 2), lambda z: SwaVLoss()([*z[:2]], [*z[2:]])[0], scores)


def test_assignments_spread_a_batch_over_all_clusters():
    shares = swav.assignments(0.1 * numbers(64, 4), iterations=50)
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(64).double())
    torch.testing.assert_close(shares.sum(dim=0), torch.full((4,), 16.0).double(), atol=1e-3, rtol=0)


@pytest.mark.parametrize("small", [1, 3])
def test_lejepa_is_that_of_lightly(small, monkeypatch):
    directions, theirs = F.normalize(numbers(16, 32, seed=1), dim=0), LeJEPALoss()
    monkeypatch.setattr(theirs.sigreg, "_generate_unit_vectors", lambda *_: directions)
    theirs = theirs.double()

    def reference(z):
        return theirs(local_proj=z[2:], global_proj=z[:2])

    check(lambda z: lejepa.lejepa(z, 2, directions), reference, numbers(2 + small, 8, 16))


def test_samples_of_a_normal_distribution_pass_and_others_do_not():
    normal, same = numbers(2000, 1), torch.zeros(2000, 1).double()
    assert lejepa.epps_pulley(normal).item() < 3 < 100 < lejepa.epps_pulley(same).item()
