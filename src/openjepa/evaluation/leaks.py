"""Near duplicates across training and test images: with them, a test asks for what was told."""

import numpy as np
import torch
from torch import Tensor

SIDE = 16
ALIKE = 0.99  # correlation of two thumbnails
FLAT = 4.0  # levels of 255: thumbnails that vary less are all alike, and say nothing


class Thumbnails:
    """A model whose features [B, C * 256] are the pixels of an image at 16 px a side, in levels of 255.

    Other than 8-bit values are stretched, image by image, so that they span those levels.
    """

    name, image_size = "thumbnails", (SIDE, SIDE)

    def features(self, images: Tensor) -> Tensor:
        values = images.flatten(1).float()
        if images.dtype == torch.uint8:
            return values
        low, high = values.amin(1, keepdim=True), values.amax(1, keepdim=True)
        return (values - low) * 255 / (high - low).clamp(min=torch.finfo(torch.float32).tiny)


def near_duplicates(train: Tensor, test: Tensor) -> np.ndarray:
    """Indices of the test thumbnails [m, D] that correlate by at least 0.99 with a training thumbnail [n, D].

    That finds copies in another size, quality or brightness; it misses mirrored and cropped ones.
    """
    bank, queries = _standardised(train), _standardised(test)
    found = [(part @ bank.T).amax(1) >= ALIKE for part in queries.split(max(1, 2**24 // len(bank)))]
    return torch.cat(found).nonzero()[:, 0].numpy()


def _standardised(thumbnails: Tensor) -> Tensor:
    """Of zero mean and unit length; flat ones are zero."""
    centred = thumbnails - thumbnails.mean(1, keepdim=True)
    length = centred.norm(dim=1, keepdim=True)
    flat = length < FLAT * thumbnails.shape[1] ** 0.5
    return torch.where(flat, torch.zeros(()), centred / length.clamp(min=1e-6))
