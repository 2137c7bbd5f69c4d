"""The real patches nearest to predicted representations, among more than fit into memory."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

BLOCK = 2**24  # energies that are computed at a time


class RealPatches(NamedTuple):
    """Targets [b, M, D] of patches at some places [M] of images, with the numbers of these images.

    pixels  [b, C, H, W] of the images, preprocessed, where they are at hand
    """

    targets: Tensor
    images: Sequence[int]
    places: Tensor
    pixels: Tensor | None = None


class NearestPatches:
    """The `top` real patches of lowest energy for each of predicted [Q, D], of blocks that are added.

    energies, images, places  [Q, k], the lowest energy first; with `each_image` no two of the same image
    closer    [Q] how many real patches have a lower energy than the true one, whose energies are `true` [Q]
    compared  how many real patches there were
    """

    def __init__(self, predicted: Tensor, true: Tensor, top: int, each_image: bool) -> None:
        self.predicted, self.true, self.top, self.each_image = predicted, true, top, each_image
        self.energies = torch.empty(len(predicted), 0)
        self.images = self.places = torch.empty(len(predicted), 0, dtype=torch.int64)
        self.closer, self.compared = torch.zeros(len(predicted), dtype=torch.int64), 0

    def add(self, block: RealPatches) -> None:
        rows = max(1, BLOCK // max(1, len(self.predicted) * block.targets.shape[1]))
        for start in range(0, len(block.images), rows):
            numbers = torch.as_tensor(block.images[start : start + rows])
            self._add(block.targets[start : start + rows], numbers, block.places)

    def _add(self, targets: Tensor, numbers: Tensor, places: Tensor) -> None:
        energies = self._energies(targets)
        self.closer += (energies < self.true[:, None, None]).flatten(1).sum(dim=1)
        self.compared += energies[0].numel()
        if self.each_image:
            energies, best = energies.min(dim=2)
            images, here = numbers.expand_as(energies), places[best]
        else:
            images = numbers[:, None].expand(energies.shape[1:]).flatten().expand(len(energies), -1)
            here, energies = places.repeat(len(numbers)).expand_as(images), energies.flatten(1)
        found = torch.cat([self.energies, energies], 1), torch.cat([self.images, images], 1)
        order = found[0].argsort(dim=1, stable=True)[:, : self.top]
        self.places = torch.cat([self.places, here], 1).gather(1, order)
        self.energies, self.images = (part.gather(1, order) for part in found)

    def _energies(self, targets: Tensor) -> Tensor:
        """The energies [Q, b, M] of targets [b, M, D]."""
        flat = targets.flatten(0, 1)
        squares = self.predicted.square().sum(dim=1, keepdim=True) + flat.square().sum(dim=1)
        found = (squares - 2 * self.predicted @ flat.T).clamp_min(0) / flat.shape[1]
        return found.unflatten(1, targets.shape[:2])
