"""Near duplicates across training and test images, which inflate scores."""

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor

SIDE = 16
ALIKE = 0.99  # correlation of two thumbnails
FLAT = 4.0  # levels of 255: thumbnails that vary less all look alike, and are not compared


class Thumbnails:
    """A model whose features [B, C * 256] are the pixels of an image at 16 px a side, in levels of 255.

    Values other than 8 bits are stretched to those levels, image by image.
    """

    name, image_size, max_stretch, pixel_format = "thumbnails", (SIDE, SIDE), 0.0, None

    def features(self, images: Tensor) -> Tensor:
        values = images.flatten(1).float()
        if images.dtype == torch.uint8:
            return values
        low, high = values.amin(1, keepdim=True), values.amax(1, keepdim=True)
        return (values - low) * 255 / (high - low).clamp(min=torch.finfo(torch.float32).tiny)


def near_duplicates(train: Tensor, test: Tensor) -> np.ndarray:
    """Indices of the test thumbnails [m, D] that correlate by at least 0.99 with a training thumbnail [n, D].

    This finds copies in another size, quality or brightness, but no mirrored or cropped ones.
    """
    return np.unique(alike(test, train)[:, 0])


def alike(these: Tensor, those: Tensor) -> np.ndarray:
    """Pairs [k, 2] of thumbnails, of `these` [m, D] and of `those` [n, D], that correlate by at least 0.99."""
    queries, bank = _standardised(these), _standardised(those)
    rows = max(1, 2**24 // len(bank))
    found = [(part @ bank.T >= ALIKE).nonzero() for part in queries.split(rows)]
    starts = [torch.tensor([rows * number, 0]) for number in range(len(found))]
    return torch.cat([part + start for part, start in zip(found, starts, strict=True)]).numpy()


def groups(pairs: np.ndarray) -> list[list[int]]:
    """The connected components of pairs [k, 2] of numbers: each sorted, in the order of their first numbers."""
    members = np.unique(pairs)
    joined = np.searchsorted(members, pairs)
    graph = coo_matrix((np.ones(len(joined)), joined.T), shape=(len(members),) * 2)
    _, group = connected_components(graph, directed=False)
    found = [members[group == number].tolist() for number in range(group.max(initial=-1) + 1)]
    return sorted(part for part in found if len(part) > 1)


def _standardised(thumbnails: Tensor) -> Tensor:
    """Of zero mean and unit length; flat ones are zero."""
    centred = thumbnails - thumbnails.mean(1, keepdim=True)
    length = centred.norm(dim=1, keepdim=True)
    flat = length < FLAT * thumbnails.shape[1] ** 0.5
    return torch.where(flat, torch.zeros(()), centred / length.clamp(min=1e-6))
