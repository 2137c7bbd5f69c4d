"""What the model of a run expects in a hidden block of some images, for its report."""

from math import floor
from typing import NamedTuple

import numpy as np
import torch

from openjepa.anomaly.energy import Energies, everything_but
from openjepa.anomaly.nearest_patches import NearestPatches, RealPatches
from openjepa.data.crops import as_picture
from openjepa.encoder.windows import Window
from openjepa.errors import UsageError
from openjepa.methods.energy import patch_energies
from openjepa.reports.anomaly.imagine_pictures import filled, hidden_picture
from openjepa.runs.detectors import open_energies
from openjepa.runs.folder import RunFolder

SHOWN = 4
MOST_PARAMETERS = 100_000_000  # of an encoder; larger ones would be read from the disk once more for these pictures


class Expectations(NamedTuple):
    """Pictures of each image: with a block hidden, with the nearest real patches in its place, and as it is.

    compared  how many real patches there were for each hidden one
    nearer    the percentage of these that are further from what is expected than the true patch, in the median
    """

    rows: list[tuple[np.ndarray, ...]]
    compared: int
    nearer: float


def expectations_of(run: RunFolder, images: np.ndarray) -> Expectations | None:
    """Of up to four of several images [n, H, W, C], by the patches of all; None where a run has no predictor."""
    if run.encoder is None or run.masks is None or len(images) < 2:
        return None
    if sum(parameter.numel() for parameter in run.encoder.network.parameters()) > MOST_PARAMETERS:
        return None
    try:
        energies = open_energies(str(run.path), run.step, encoder=run.encoder)
    except UsageError:  # the network of a program or another library, or what a teacher gave
        return None
    return _expectations(energies, images)


def _expectations(energies: Energies, images: np.ndarray) -> Expectations:
    pixels, grid_size = torch.from_numpy(images).permute(0, 3, 1, 2), energies.grid_size
    window = block_of(grid_size)
    hidden = everything_but(window.places(grid_size[1]), grid_size)
    predicted, targets = energies.predicted(pixels[:SHOWN], hidden), energies.targets(pixels)
    pictures, places = [as_picture(image) for image in images], torch.arange(targets.shape[1])
    rows, nearer = [], []
    for number, expected in enumerate(predicted):
        others = [other for other in range(len(images)) if other != number]
        true = patch_energies(expected[None, None], targets[None, number : number + 1, hidden.targets])[0, 0]
        found = NearestPatches(expected, true, 1, each_image=False)
        found.add(RealPatches(targets[others], others, places))
        found.add(RealPatches(targets[number : number + 1, hidden.context], [number], hidden.context))
        patches = [*zip(found.images[:, 0].tolist(), found.places[:, 0].tolist(), strict=True)]
        own = pictures[number]
        blank = hidden_picture(own, window, hidden.context, grid_size, blank=True)
        seen = filled(own, window, patches, pictures.__getitem__, grid_size), own
        rows.append((blank, *(hidden_picture(each, window, hidden.context, grid_size) for each in seen)))
        nearer += (1 - found.closer / found.compared).tolist()
    return Expectations(rows, found.compared, floor(1000 * float(np.median(nearer))) / 10)


def block_of(grid_size: tuple[int, int]) -> Window:
    """The block in the middle of a grid, of about a third of each side."""
    rows, columns = (max(1, round(side / 3)) for side in grid_size)
    return Window((grid_size[0] - rows) // 2, (grid_size[1] - columns) // 2, rows, columns)
