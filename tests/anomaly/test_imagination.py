"""What is expected in a region is what the predictor says, and the nearest real patches are those of a plain search."""

import pytest
import torch
from support.anomaly_parts import built_energies

from openjepa.anomaly import nearest_patches
from openjepa.anomaly.energy import first_weights
from openjepa.anomaly.imagination import contexts, imagine, other_regions, with_region
from openjepa.anomaly.nearest_patches import NearestPatches, RealPatches
from openjepa.encoder.windows import Window
from openjepa.errors import UsageError
from openjepa.methods.base import Inputs

IMAGES = torch.randint(0, 256, (4, 3, 24, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
WINDOW = Window(1, 2, 3, 2)  # of 6 x 8 patches
REGION = torch.tensor([10, 11, 18, 19, 26, 27])


def of_others(energies, *numbers):
    targets = energies.targets(IMAGES[list(numbers)])
    return RealPatches(targets, numbers, torch.arange(48), IMAGES[list(numbers)])


@pytest.mark.parametrize(("name", "width"), [("ijepa", 32), ("mae", 48), ("hybrid", 32)])
def test_predictions_and_energies_are_those_of_the_method(name, width):
    method, energies = built_energies(name)
    found = imagine(energies, IMAGES[0], WINDOW, [of_others(energies, 1, 2), of_others(energies, 3)], draws=3)
    pixels, ids = energies.encoder.standardised(IMAGES), REGION.expand(4, 1, -1)
    with torch.no_grad():
        targets = method.targets(pixels, ids)[:, 0, :, :width]
        for draw, (context, hidden) in enumerate(found.hidden):
            assert torch.equal(hidden, REGION) and not set(context.tolist()) & set(REGION.tolist())
            predicted = method.predict(pixels[:1], context[None], ids[:1])[0, 0, :, :width]
            torch.testing.assert_close(found.predicted[draw], predicted, rtol=1e-4, atol=1e-5)
            expected = (predicted - targets).square().mean(dim=-1)  # of the region of each image
            torch.testing.assert_close(found.true[draw], expected[0], rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(found.of_images[draw], expected[1:], rtol=1e-4, atol=1e-5)

            again = energies.targets(with_region(IMAGES[0], WINDOW, 4, IMAGES[3, :, 4:16, 8:16])[None])[0, REGION]
            pasted = (predicted - again).square().mean(dim=-1)
            torch.testing.assert_close(found.of_pasted[draw, 2], pasted, rtol=1e-4, atol=1e-5)

    assert len(found.hidden[0].context) == 42 and len(found.hidden[1].context) == 21
    assert found.images == [1, 2, 3] and found.noise.shape == (8, 3, 12, 8)
    if name == "mae":  # whose loss is this mean
        loss = float(method.loss(Inputs(pixels[None, :1], found.hidden[0].context[None], ids[:1])).detach())
        assert loss == pytest.approx(float(found.true[0].mean()), rel=1e-4)


def test_regions_of_the_image_are_pasted_and_share_no_patch_with_the_box():
    _, energies = built_energies("ijepa")
    found = imagine(energies, IMAGES[0], WINDOW, seed=3)
    assert len(found.regions) == 8 == len(set(found.regions))
    for window, energy in zip(found.regions, found.of_regions[0], strict=True):
        assert window[2:] == (3, 2) and not set(window.places(8).tolist()) & set(REGION.tolist())
        part = IMAGES[0, :, 4 * window.top : 4 * window.top + 12, 4 * window.left : 4 * window.left + 8]
        targets = energies.targets(with_region(IMAGES[0], WINDOW, 4, part)[None])[0, REGION]
        torch.testing.assert_close(energy, (found.predicted[0] - targets).square().mean(-1), rtol=1e-4, atol=1e-5)
    assert other_regions(Window(0, 0, 6, 5), (6, 8), 0) == []
    assert torch.equal(found.noise, imagine(energies, IMAGES[0], WINDOW, seed=3).noise)
    assert not torch.equal(found.noise, imagine(energies, IMAGES[0], WINDOW, seed=4).noise)


@pytest.mark.parametrize("each_image", [True, False])
def test_the_nearest_patches_are_those_of_a_plain_search(each_image, monkeypatch):
    monkeypatch.setattr(nearest_patches, "BLOCK", 100)
    noise = torch.Generator().manual_seed(2)
    predicted, targets = torch.randn(5, 7, generator=noise), torch.randn(9, 6, 7, generator=noise)
    targets[4, 2] = predicted[3]  # which is found exactly
    true = torch.tensor([0.5, 1.0, 1.5, 2.0, 9.0])
    found, places = NearestPatches(predicted, true, 4, each_image), torch.tensor([1, 3, 5, 7, 9, 11])
    for part in (slice(0, 5), slice(5, 9)):
        found.add(RealPatches(targets[part], range(100, 109)[part], places))
    energies = (predicted[:, None, None] - targets).square().mean(dim=-1)
    for query, of_all in enumerate(energies):
        rows = [(float(of_all[i, j]), 100 + i, int(places[j])) for i in range(9) for j in range(6)]
        if each_image:
            rows = [min(row for row in rows if row[1] == image) for image in range(100, 109)]
        expected = sorted(rows)[:4]
        assert found.energies[query].tolist() == pytest.approx([row[0] for row in expected], rel=1e-4, abs=1e-6)
        at = zip(found.images[query].tolist(), found.places[query].tolist(), strict=True)
        assert [*at] == [row[1:] for row in expected]
    assert found.closer.tolist() == (energies < true[:, None, None]).sum(dim=(1, 2)).tolist()
    assert found.compared == 54 and found.energies[3, 0] < 1e-6 and found.images[3, 0] == 104


def test_without_others_the_patches_are_those_that_are_visible():
    _, energies = built_energies("ijepa")
    found = imagine(energies, IMAGES[0], WINDOW, top=42)
    assert found.nearest.compared == 42 and found.of_images.shape[1] == 0
    for row in found.nearest.places:
        assert sorted(row.tolist()) == found.hidden[0].context.tolist()
    assert set(found.nearest.images.flatten().tolist()) == {-1}


def test_first_weights_are_of_the_same_shape_and_a_seed():
    _, energies = built_energies("ijepa")
    one, same, other = (first_weights(energies, seed).pairs(IMAGES, IMAGES, REGION) for seed in (0, 0, 1))
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert not torch.equal(one, energies.pairs(IMAGES, IMAGES, REGION))


@pytest.mark.parametrize("scale", [1e30, float("nan")])
def test_weights_that_give_no_numbers_are_refused(scale):
    _, energies = built_energies("ijepa")
    with torch.no_grad():
        energies.predictor.proj.weight.mul_(scale)
    with pytest.raises(UsageError, match="gives numbers that are not finite: its weights are damaged"):
        imagine(energies, IMAGES[0], WINDOW)


def test_contexts_are_drawn_by_the_seed_and_must_leave_something_visible():
    first = contexts(REGION, (6, 8), 4, seed=1)
    assert [each.context.tolist() for each in first] == [x.context.tolist() for x in contexts(REGION, (6, 8), 4, 1)]
    assert len({tuple(each.context.tolist()) for each in first}) == 4
    assert any(
        not torch.equal(x.context, y.context) for x, y in zip(first, contexts(REGION, (6, 8), 4, 2), strict=True)
    )
    assert len(contexts(torch.arange(42), (6, 8), 1, 0)[0].context) == 6
    for hidden in (43, 48):
        with pytest.raises(UsageError, match=f"leaves {48 - hidden} of 48 patches visible, and it takes 6"):
            contexts(torch.arange(hidden), (6, 8), 1, 0)
    with pytest.raises(UsageError, match="--draws 17 is not possible: give 1 to 16"):
        contexts(REGION, (6, 8), 17, 0)
