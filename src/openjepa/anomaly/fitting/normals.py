"""Which normal images are fitted on, and which show how scores vary and where the threshold is."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from openjepa.anomaly.calibration import HELD_PART, needed, too_few
from openjepa.errors import UsageError

FOLDS = 5
SEPARATE = 40  # normal images from which on some are set aside for the spreads; of fewer each is used in turn
SET_ASIDE, MOST_SET_ASIDE = 0.2, 200  # a fraction of the images, and images
SHIFTS = (-2, 2)  # pixels; the copies that stand for other normal images where there is only one
GAINS = (0.97, 1.03)


class Split(NamedTuple):
    """Numbers of normal images: to fit on, for the spreads of the scores, and for the threshold."""

    fit: np.ndarray
    spread: np.ndarray
    threshold: np.ndarray


def split_normals(count: int, rate: float | None, seed: int) -> Split:
    """`count` normal images in three parts, drawn at random. Raises UsageError where a `rate` needs more."""
    order = np.random.default_rng(seed % 2**64).permutation(count)
    held = 0
    if rate is not None:
        least = needed(rate)
        if least > count - 1:
            raise UsageError(too_few(rate, count - 1, count))
        held = max(least, min(count // HELD_PART, max(MOST_SET_ASIDE, needed(rate, 2))))
    rest = count - held
    aside = min(round(rest * SET_ASIDE), MOST_SET_ASIDE) if rest >= SEPARATE else 0
    return Split(order[held + aside :], order[held : held + aside], order[:held])


def folds(count: int) -> list[np.ndarray]:
    """`count` images in at most `FOLDS` parts."""
    return np.array_split(np.arange(count), min(FOLDS, count))


def changed_copies(images: Tensor) -> Tensor:
    """Copies of an image [1, C, H, W]: moved by a few pixels, edges repeated, and a little darker and brighter."""
    whole = torch.nn.functional.pad(images.float(), (2, 2, 2, 2), mode="replicate")
    rows, columns = images.shape[2:]
    moved = [
        whole[:, :, 2 + y : 2 + y + rows, 2 + x : 2 + x + columns] * gain
        for y in SHIFTS
        for x in SHIFTS
        for gain in GAINS
    ]
    copies = torch.cat(moved)
    return copies.round().clamp(0, 255).to(images.dtype) if images.dtype == torch.uint8 else copies
