"""Near duplicates within images and across training and test images, where they inflate scores.

Two images are alike if the edges of their grey thumbnails correlate. Edges, because colour casts and slow changes of
brightness are the same in images that share nothing else; the square roots of their heights, because a frame around
an image would otherwise outweigh what it shows. Colours are not compared.

Of images of one view, as of a static camera, thumbnails only give the candidates, whose texture is then compared at
96 px (`same_view`).
"""

import hashlib
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from openjepa.data.crops import Frame, resize_centre_crop
from openjepa.data.dataset import ImageDataset
from openjepa.errors import BadImage
from openjepa.evaluation import same_view
from openjepa.evaluation.same_view import Larger, least_texture, textures

SIDE = 16
ALIKE = 0.8  # correlation of edges
FLAT = 1.0  # levels of 255: thumbnails whose edges are lower hold noise alone, and are not compared
HELD = 2**21  # correlations at a time
# Where a tenth of all pairs correlate by half or more, a static camera saw one view: then alike is only what differs
# twelve times less than those pairs do, unless the texture of larger images can tell.
SAMPLE, LEAST_SAMPLE, ONE_VIEW, CLOSER, MOST_ALIKE = 512, 30, 0.5, 12, 0.999
CANDIDATES, MOST_CANDIDATES = 8, 40_000  # of an image; of all, but at least one of each
LARGER_HELD = 4096  # larger images in memory, of 9 kB each


class GreyThumbnails:
    """A model whose features [B, 256] are the mean over channels of an image at 16 px a side, in levels of 255.

    Values other than 8 bits are stretched to those levels, image by image.
    """

    name, image_size, pixel_format = "thumbnails", (SIDE, SIDE), None
    frame = Frame(image_size, math.inf)  # the whole image

    def features(self, images: Tensor) -> Tensor:
        values = images.float()
        if images.dtype != torch.uint8:
            low, high = values.amin((1, 2, 3), keepdim=True), values.amax((1, 2, 3), keepdim=True)
            values = (values - low) * 255 / (high - low).clamp(min=torch.finfo(torch.float32).tiny)
        return values.mean(1).flatten(1)


class LargerImages:
    """The grey images at 96 px of a data set, by their place in `indices`; the last 4,096 stay in memory.

    They lie in one block: small arrays kept between the large ones of a comparison would hold on to their memory.
    """

    def __init__(self, dataset: ImageDataset, indices: np.ndarray):
        self.dataset, self.indices = dataset, indices
        self._held = np.empty((min(LARGER_HELD, len(indices)), same_view.SIDE, same_view.SIDE), np.uint8)
        self._rows: dict[int, int] = {}  # of the numbers that are held, the one longest out of use first
        self._unreadable: set[int] = set()

    def __call__(self, number: int) -> np.ndarray | None:
        """uint8 [96, 96], valid until 4,096 others were asked for; None where the image cannot be read."""
        if number in self._unreadable:
            return None
        if number in self._rows:
            self._rows[number] = self._rows.pop(number)
            return self._held[self._rows[number]]
        try:
            image = self._read(number)
        except BadImage:
            self._unreadable.add(number)
            return None
        full = len(self._rows) == len(self._held)
        row = self._rows.pop(next(iter(self._rows))) if full else len(self._rows)
        self._held[row], self._rows[number] = image, row
        return self._held[row]

    def _read(self, number: int) -> np.ndarray:
        loaded = self.dataset.load(int(self.indices[number]))
        image = resize_centre_crop(loaded, *Frame((same_view.SIDE,) * 2, math.inf))
        grey = GreyThumbnails().features(torch.tensor(image).permute(2, 0, 1)[None])
        return grey.view(same_view.SIDE, same_view.SIDE).round().byte().numpy()


def larger_of(dataset: ImageDataset, indices: np.ndarray) -> Larger | None:
    """`LargerImages`; None where images are read in order alone."""
    return None if dataset.window else LargerImages(dataset, indices)


@dataclass(frozen=True)
class NearDuplicates:
    """For each of m images the most similar of others.

    partners    int64 [m], its number, or -1 where none is alike
    flat        the number of images, of either, that are too flat to be compared
    one_view    whether so many images are alike that only much closer ones count
    """

    partners: np.ndarray
    flat: int
    one_view: bool

    @property
    def found(self) -> np.ndarray:
        """The numbers of the images that are alike to another one."""
        return np.flatnonzero(self.partners >= 0)


def near_duplicates(
    train: Tensor, test: Tensor, larger: tuple[Larger | None, Larger | None] = (None, None)
) -> NearDuplicates:
    """The training thumbnail [n, 256] most like each test thumbnail [m, 256]: copies in another size or quality.

    Also brighter or slightly cropped ones are found; mirrored ones are not. Memory does not depend on how many are.
    `larger` gives the training and the test images at 96 px (`larger_of`); without them cropped copies among images
    of one view are missed.
    """
    bank, queries = edges(train), edges(test)
    least = least_alike(queries, bank)
    of_train, of_test = larger if least > ALIKE and all(larger) else (None, None)
    flat = sum(int((~each.any(1)).sum()) for each in (bank, queries))
    (asked, of_query), (kept, _) = distinct(test, of_test), distinct(train, of_train)
    bank, queries, best = bank[kept], queries[asked], np.full(len(asked), -1)
    if of_train and of_test:
        pairs, texture = _alike_textures(queries, bank, _chosen(of_test, asked), _chosen(of_train, kept))
        order = np.argsort(texture, kind="stable")
        best[pairs[order, 0]] = pairs[order, 1]  # the last one stays, which is the most alike
    else:
        for start, part in _correlations(queries, bank):
            highest, place = part.max(1)
            best[start : start + len(part)] = torch.where(highest >= least, place, -1).numpy()
    partners = np.where(best >= 0, kept[best] if len(kept) else -1, -1)
    return NearDuplicates(partners[of_query], flat, least > ALIKE)


def distinct(thumbnails: Tensor, larger: Larger | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The first of each kind of equal images [k], and the place in these of each image [n].

    Equal are those with one thumbnail, and where `larger` is given also one image at 96 px. Unreadable ones never are.
    """
    keys: list[tuple] = [(_digest(row),) for row in thumbnails.numpy()]
    repeated = {key for key, count in Counter(keys).items() if count > 1} if larger else set()
    for number, key in enumerate(keys):
        if larger and key in repeated:
            image = larger(number)
            keys[number] = (*key, number if image is None else _digest(image))
    places: dict[tuple, int] = {}
    place = np.array([places.setdefault(key, len(places)) for key in keys], np.int64)
    return np.unique(place, return_index=True)[1], place


def _digest(values: np.ndarray) -> bytes:
    return hashlib.sha256(values.tobytes()).digest()


def _correlations(queries: Tensor, bank: Tensor, later: bool = False) -> Iterator[tuple[int, Tensor]]:
    """The number of a query, and the correlations of it and some that follow with the bank, until all were given.

    `later`: with those of the bank from that number on. The memory is used again for each part: many blocks of this
    size, with small ones kept between them, would not be given back.
    """
    rows = max(1, HELD // max(1, len(bank)))
    held = bank.new_empty(min(rows, len(queries)) * len(bank))
    for start in range(0, len(queries), rows):
        part, others = queries[start : start + rows], bank[start * later :]
        yield start, torch.mm(part, others.T, out=held[: len(part) * len(others)].view(len(part), len(others)))


def _alike_textures(
    queries: Tensor, bank: Tensor, these: Larger, those: Larger, same: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs [p, 2] of a query and one of the bank whose texture is alike, and its correlation [p].

    Only the closest of the bank by their edges are looked at. `same`: queries and bank are the same images.
    """
    least = least_texture(these, those, len(queries), len(bank))
    most = min(CANDIDATES, max(1, MOST_CANDIDATES // len(queries)), len(bank) - same)
    found, numbers = np.empty((len(queries), most), np.int64), np.arange(len(queries))[:, None]
    for start, close in _correlations(queries, bank):
        if same:
            close[torch.arange(len(close)), torch.arange(start, start + len(close))] = -1
        values, places = close.topk(most, dim=1)
        found[start : start + len(close)] = torch.where(values >= ONE_VIEW, places, -1).numpy()
    pairs = np.stack([np.broadcast_to(numbers, found.shape)[found >= 0], found[found >= 0]], 1)
    pairs = np.unique(np.sort(pairs, axis=1), axis=0) if same else pairs
    texture = textures(these, those, pairs)
    return pairs[texture >= least], texture[texture >= least]


@dataclass(frozen=True)
class Groups:
    """Groups of images that are alike: each sorted, in the order of their first numbers; else as NearDuplicates."""

    groups: list[list[int]]
    flat: int
    one_view: bool


def alike_groups(thumbnails: Tensor, larger: Larger | None = None) -> Groups:
    """The groups of thumbnails [n, 256] that are alike, directly or over others; memory does not depend on how many.

    `larger` gives the images at 96 px, as for `near_duplicates`.
    """
    every = edges(thumbnails)
    rough = every.any(1).numpy().nonzero()[0]
    every, flat = every[torch.from_numpy(rough)], len(every) - len(rough)
    least = least_alike(every, every)
    of_rough = _chosen(larger, rough) if larger and least > ALIKE else None
    kept, place = distinct(thumbnails[torch.from_numpy(rough)], of_rough)
    bank, group = every[kept], np.arange(len(kept))
    if of_rough:
        of_kept = _chosen(of_rough, kept)
        group = _joined(group, *_alike_textures(bank, bank, of_kept, of_kept, same=True)[0].T)
        return Groups(_members(group[place], rough), flat, True)
    for start, part in _correlations(bank, bank, later=True):
        rows = group[start : start + len(part)]
        pairs = np.argwhere((part >= least).numpy() & (rows[:, None] != group[None, start:]))
        if len(pairs):
            group = _joined(group, rows[pairs[:, 0]], group[start:][pairs[:, 1]])
    return Groups(_members(group[place], rough), flat, least > ALIKE)


def _chosen(larger: Larger, numbers: np.ndarray) -> Larger:
    return lambda row: larger(int(numbers[row]))


def edges(thumbnails: Tensor) -> Tensor:
    """Signed square roots of the differences of neighbours, of unit length: [n, 480]; zero for flat thumbnails.

    The differences to the right and downwards have zero mean each, so that an even slope has none.
    """
    found = [_edges(part.view(-1, SIDE, SIDE)) for part in thumbnails.split(8192)]
    return torch.cat(found) if found else thumbnails.new_zeros(0, 2 * SIDE * (SIDE - 1))


def _edges(images: Tensor) -> Tensor:
    steps = torch.cat([_centred(images.diff(dim=2)), _centred(images.diff(dim=1))], dim=1)
    flat = steps.square().mean(1, keepdim=True) < FLAT**2
    roots = steps.sign() * steps.abs().sqrt()
    return torch.where(flat, torch.zeros(()), roots / roots.norm(dim=1, keepdim=True).clamp(min=1e-6))


def _centred(steps: Tensor) -> Tensor:
    return (steps - steps.mean((1, 2), keepdim=True)).flatten(1)


def least_alike(these: Tensor, those: Tensor) -> float:
    """The correlation from which on two images are alike: `ALIKE`, or more among images of one view."""
    samples = []
    for seed, images in enumerate((these, those)):
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
        samples.append(images[order[:SAMPLE]])
    if min(map(len, samples)) < LEAST_SAMPLE:
        return ALIKE
    pairs = samples[0] @ samples[1].T
    typical = float(pairs.flatten().quantile(0.9))
    return ALIKE if typical < ONE_VIEW else min(MOST_ALIKE, max(ALIKE, 1 - (1 - typical) / CLOSER))


def _joined(group: np.ndarray, ones: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The groups [n], by numbers below n, after those in `ones` and `others` are joined pair by pair."""
    graph = coo_matrix((np.ones(len(ones), bool), (ones, others)), shape=(len(group),) * 2)
    return connected_components(graph, directed=False)[1][group]


def _members(group: np.ndarray, numbers: np.ndarray) -> list[list[int]]:
    """The `numbers` [n], in increasing order, of each group of several."""
    order = np.argsort(group, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(group[order])) + 1)
    return sorted(numbers[part].tolist() for part in parts if len(part) > 1)
