"""The report shows the real patches nearest to what the predictor of a run foretells, where it has one."""

import numpy as np
import torch
from support.anomaly_parts import built_energies

from openjepa.encoder.windows import Window
from openjepa.reports.anomaly.run_expectations import _expectations, block_of

HIDDEN = (18, 19, 20, 26, 27, 28)  # of 6 x 8 patches


def test_in_the_block_are_the_nearest_of_all_patches_that_are_not_hidden():
    _, energies = built_energies("ijepa")
    images = np.random.default_rng(0).integers(0, 256, (5, 24, 32, 3), dtype=np.uint8)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2)
    found, targets = _expectations(energies, images), energies.targets(pixels)
    assert len(found.rows) == 4 and found.compared == 5 * 48 - len(HIDDEN)
    context = torch.tensor([patch for patch in range(48) if patch not in HIDDEN])
    standardised, nearer = energies.encoder.standardised(pixels), []
    for number, (blank, expected, truth) in enumerate(found.rows):
        with torch.no_grad():
            given = energies.context(standardised[number : number + 1], context[None])
            predicted = energies.predictor(given, context[None], torch.tensor(HIDDEN)[None, None])[0, 0]
        assert np.ptp(blank[60:108, 60:136], axis=(0, 1)).max() == 0  # nothing of the block is seen
        for row, place in enumerate(HIDDEN):
            distances = (predicted[row] - targets).square().mean(dim=-1)
            own = float(distances[number, place])
            distances[number, list(HIDDEN)] = torch.inf
            nearer.append(1 - int((distances < own).sum()) / found.compared)
            image, there = divmod(int(distances.argmin()), 48)
            assert np.array_equal(_middle(expected, place), _pixel(images[image], there))
            assert np.array_equal(_middle(truth, place), _pixel(images[number], place))
    assert abs(found.nearer - 100 * np.median(nearer)) <= 0.1


def _middle(picture, place):
    """The pixel in the middle of a patch of a picture, which has 28 px to a patch."""
    return picture[place // 8 * 28 + 14, place % 8 * 28 + 14]


def _pixel(image, place):
    return image[place // 8 * 4 + 2, place % 8 * 4 + 2]


def test_the_block_is_in_the_middle():
    assert block_of((6, 8)) == Window(2, 2, 2, 3) and block_of((2, 2)) == Window(0, 0, 1, 1)
