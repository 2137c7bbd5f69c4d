"""What a predictor expects in a hidden region of an image, told by the real patches that are nearest to it.

A predicted representation is nothing that can be looked at. What can be are real patches whose representations have low
energy as its target.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from openjepa.anomaly.energy import Energies, Hidden, everything_but
from openjepa.anomaly.nearest_patches import NearestPatches, RealPatches
from openjepa.encoder.windows import Window
from openjepa.errors import UsageError
from openjepa.methods.energy import patch_energies
from openjepa.rng import MASKS, generator

LEAST_SEEN = 8  # one in so many patches must be visible
MOST_DRAWS, MOST_NEAREST = 16, 20
REGIONS = 8  # that are put in the place of the hidden one, at most


class Imagined(NamedTuple):
    """What is expected in a window of an image, from each of several contexts ("draws") of Nt hidden patches.

    hidden     the patches that each draw saw
    predicted  [draws, Nt, D]
    nearest    the real patches nearest to each prediction: of draw d, patch i in row d * Nt + i
    true       [draws, Nt] energies of the true region
    regions    other windows of the image; energies [draws, R, Nt] of their pixels, pasted into the window
    images     numbers of other images; energies [draws, M, Nt] of the same region of them, as it is there, and of its
               pixels, pasted
    noise      pixels [K, C, h, w] made of the image's own; energies [draws, K, Nt]
    """

    window: Window
    hidden: list[Hidden]
    predicted: Tensor
    nearest: NearestPatches
    true: Tensor
    regions: list[Window]
    of_regions: Tensor
    images: list[int]
    of_images: Tensor
    of_pasted: Tensor
    noise: Tensor
    of_noise: Tensor


def imagine(
    energies: Energies,
    image: Tensor,
    window: Window,
    others: Iterable[RealPatches] | None = None,
    draws: int = 4,
    top: int = 5,
    seed: int = 0,
) -> Imagined:
    """What is expected in a window of a preprocessed image [C, H, W].

    others  real patches to find the nearest ones among, at most one of each image; without them, the image's own
            visible patches. Raises UsageError for a window that leaves too few patches visible, and for weights that
            give no numbers.
    """
    patch_size, region = energies.target.patch_size, window.places(energies.grid_size[1])
    hidden = contexts(region, energies.grid_size, draws, seed)
    predicted = torch.cat([energies.predicted(image[None], each) for each in hidden])
    targets = energies.targets(image[None])
    true = patch_energies(predicted[:, None], targets[:, None, region].expand(len(hidden), -1, -1, -1))[:, 0]
    if not (true.isfinite().all() and targets.isfinite().all()):
        raise UsageError(f"{energies.encoder.name} gives numbers that are not finite: its weights are damaged")
    own = [RealPatches(targets[:, hidden[0].context], [-1], hidden[0].context)]
    nearest = NearestPatches(predicted.flatten(0, 1), true.flatten(), top, each_image=others is not None)
    kept = _Kept(region, window.pixels(patch_size))
    for block in kept.passing(own if others is None else others):
        nearest.add(block)
    regions = other_regions(window, energies.grid_size, seed)
    parts = [image[(slice(None), *each.pixels(patch_size))] for each in regions]
    noise = noise_like(image, window, patch_size, seed)

    def put(contents: Sequence[Tensor]) -> Tensor:
        """Energies [draws, n, Nt] of n images with other pixels in the window."""
        images = [with_region(image, window, patch_size, content) for content in contents]
        return _energies(predicted, energies.targets(torch.stack(images))[:, region] if images else targets[:0, region])

    of_images = _energies(predicted, torch.cat([targets[:0, region], *kept.targets]))
    found = regions, put(parts), kept.images, of_images, put(kept.pixels), noise, put([*noise])
    return Imagined(window, hidden, predicted, nearest, true, *found)


class _Kept:
    """What the first few other images show in a region, and its pixels where they are at hand."""

    def __init__(self, region: Tensor, where: tuple[slice, slice]) -> None:
        self.region, self.where = region, where
        self.images, self.targets, self.pixels = list[int](), list[Tensor](), list[Tensor]()

    def passing(self, blocks: Iterable[RealPatches]) -> Iterator[RealPatches]:
        for block in blocks:
            few = [row for row, number in enumerate(block.images) if number >= 0][: REGIONS - len(self.images)]
            self.images += [block.images[row] for row in few]
            if few:
                self.targets.append(block.targets[few][:, self.region])
                self.pixels += [] if block.pixels is None else [*block.pixels[few][(..., *self.where)]]
            yield block


def _energies(predicted: Tensor, targets: Tensor) -> Tensor:
    """The energies [draws, n, Nt] of predicted [draws, Nt, D] with targets [n, Nt, D]."""
    return torch.stack([patch_energies(each[None, None], targets[:, None])[:, 0] for each in predicted])


def contexts(region: Tensor, grid_size: tuple[int, int], draws: int, seed: int) -> list[Hidden]:
    """Several contexts from which a region is foretold.

    First all patches outside of it; then, for each draw, that half of them which is nearest to a random one. Raises
    UsageError where fewer than one in eight patches are visible.
    """
    if not 1 <= draws <= MOST_DRAWS:
        raise UsageError(f"--draws {draws} is not possible: give 1 to {MOST_DRAWS}")
    patches = grid_size[0] * grid_size[1]
    visible, least = patches - len(region), -(-patches // LEAST_SEEN)
    if visible < least:
        raise UsageError(
            f"--box leaves {visible:,} of {patches:,} patches visible, and it takes {least:,} to foretell the others "
            "from: give a smaller one"
        )
    whole = everything_but(region, grid_size)
    return [whole, *(Hidden(_half(whole.context, grid_size, seed, draw), region) for draw in range(1, draws))]


def _half(visible: Tensor, grid_size: tuple[int, int], seed: int, draw: int) -> Tensor:
    """The half of the visible patches that is nearest to a random one of them."""
    rows, columns = visible // grid_size[1], visible % grid_size[1]
    one = int(generator(seed, MASKS, draw).integers(len(visible)))
    distances = (rows - rows[one]).square() + (columns - columns[one]).square()
    return visible[distances.argsort(stable=True)[: -(-len(visible) // 2)]].sort().values


def other_regions(window: Window, grid_size: tuple[int, int], seed: int) -> list[Window]:
    """Up to eight windows of the same shape that share no patch with a window, drawn by the seed."""
    tops, lefts = (range(side - size + 1) for side, size in zip(grid_size, window[2:], strict=True))
    apart = [
        window._replace(top=top, left=left)
        for top in tops
        for left in lefts
        if abs(top - window.top) >= window.rows or abs(left - window.left) >= window.columns
    ]
    return [apart[index] for index in generator(seed, MASKS, 0, 1).permutation(len(apart))[:REGIONS]]


def with_region(image: Tensor, window: Window, patch_size: int, content: Tensor) -> Tensor:
    """An image [C, H, W] with other pixels [C, h, w] in a window."""
    changed = image.clone()
    changed[(slice(None), *window.pixels(patch_size))] = content
    return changed


def noise_like(image: Tensor, window: Window, patch_size: int, seed: int) -> Tensor:
    """Noise [8, C, h, w] for a window of an image: values of its own pixels, each drawn by itself."""
    rng, (high, wide) = generator(seed, MASKS, 0, 2), (side * patch_size for side in window[2:])
    values = image.flatten(1)
    chosen = torch.from_numpy(rng.integers(values.shape[1], size=(REGIONS, len(values), high * wide)))
    return torch.stack([values.gather(1, each).unflatten(1, (high, wide)) for each in chosen])
