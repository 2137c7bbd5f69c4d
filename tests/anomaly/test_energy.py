"""Energies are those of the method that trained the networks, and low where context and region belong together."""

import numpy as np
import pytest
import torch
from support.anomaly_parts import GREY, METHODS, built_energies, energies_of

from openjepa.anomaly.energy import Energies, EnergyMoments, checkerboards
from openjepa.errors import UsageError
from openjepa.interop.loaded_weights import Source
from openjepa.methods.base import Inputs

IMAGES = torch.randint(0, 256, (3, 3, 24, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", METHODS)
def test_maps_are_the_errors_of_what_the_method_predicts(name):
    method, energies = built_energies(name)
    found, pixels = energies.maps(IMAGES), energies.encoder.standardised(IMAGES)
    width = 32 if name == "hybrid" else None  # of its targets the representations alone
    for context, targets in checkerboards((6, 8), 0):
        context_ids, target_ids = context.expand(3, -1), targets.expand(3, 1, -1)
        with torch.no_grad():
            predicted = method.predict(pixels, context_ids, target_ids)[..., :width]
            expected = (predicted - method.targets(pixels, target_ids)[..., :width]).square().mean(-1)[:, 0]
        torch.testing.assert_close(found[:, targets], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("grid_size", [(6, 8), (2, 2), (13, 32), (16, 16)])
def test_every_patch_is_foretold_once_from_others(grid_size):
    for draw in range(3):
        masks = list(checkerboards(grid_size, draw))
        assert sorted(torch.cat([mask.targets for mask in masks]).tolist()) == list(range(grid_size[0] * grid_size[1]))
        for context, targets in masks:
            assert len(context) and not set(context.tolist()) & set(targets.tolist())
    assert not torch.equal(next(checkerboards((16, 16), 0)).targets, next(checkerboards((16, 16), 1)).targets)


def test_the_lower_half_of_the_draws_counts():
    method, _ = built_energies("ijepa")
    several = energies_of(method, "ijepa", draws=3)
    single = []
    for draw in range(3):
        alone = energies_of(method, "ijepa")
        alone.draws, found = 1, torch.empty(3, 48)
        for hidden in checkerboards((6, 8), draw):
            found[:, hidden.targets] = alone._patches(*[alone.encoder.standardised(IMAGES)] * 2, hidden)
        single.append(found)
    lower = torch.stack(single).sort(dim=0).values[:2].mean(dim=0)
    torch.testing.assert_close(several.maps(IMAGES), lower, rtol=1e-4, atol=1e-5)


def test_matched_pairs_have_less_energy_once_the_networks_are_trained():
    method, energies = built_energies("mae")
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(6, 3, 3, 4, generator=generator)
    images = (torch.nn.functional.interpolate(coarse, size=(24, 32), mode="bicubic") * 255).clamp(0, 255).byte()
    region = torch.tensor([18, 19, 20, 26, 27, 28])

    def matched() -> float:
        own = energies.pairs(images, images, region)
        others = torch.stack([energies.pairs(images, images.roll(shift, 0), region) for shift in range(1, 6)])
        return float((own < others).float().mean())

    before = matched()
    optimizer = torch.optim.Adam(method.parameters(), 3e-3)
    pixels = energies.encoder.standardised(images)
    context = torch.tensor([i for i in range(48) if i not in region.tolist()])
    inputs = Inputs(pixels[None], context.expand(6, -1), region.expand(6, 1, -1))
    for _ in range(80):
        optimizer.zero_grad()
        method.loss(inputs).backward()
        optimizer.step()
    assert 0.2 < before < 0.8 and matched() > 0.95


def test_sources_that_cannot_have_an_energy_are_refused():
    method, energies = built_energies("ijepa")
    source = Source("parts", "openjepa", GREY, GREY, method.encoder)
    with pytest.raises(UsageError, match="parts has no predictor, which energy needs: give a run"):
        Energies(energies.encoder, source)
    taught = Source("parts", "openjepa", GREY, GREY, *method.parts(), about={"teacher": {}})
    with pytest.raises(UsageError, match="foretells what its teacher says"):
        Energies(energies.encoder, taught)
    for region in (torch.tensor([], dtype=torch.int64), torch.arange(48), torch.tensor([48]), torch.tensor([-1])):
        with pytest.raises(UsageError, match="region"):
            energies.pairs(IMAGES, IMAGES, region)


def test_moments_of_places_are_drawn_to_their_mean():
    energies, moments = (
        torch.rand(12, 5, generator=torch.Generator().manual_seed(4)) * torch.arange(1.0, 6),
        EnergyMoments(),
    )
    for part in energies.split(5):
        moments.add(part)
    mean, std = moments.mean_and_std()
    each = energies.numpy().var(axis=0, ddof=1)
    np.testing.assert_allclose(mean, energies.mean(dim=0), rtol=1e-5)
    np.testing.assert_allclose(std, ((11 * each + 8 * each.mean()) / 19) ** 0.5, rtol=1e-4)
