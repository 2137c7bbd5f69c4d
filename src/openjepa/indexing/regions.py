"""Regions of images: which patches a box covers, and where in the images of an index something like it is.

Tokens are whitened by those of a sample of the index, after the mean of their place in the grid was subtracted: what
the tokens of one model have in common, and where in the image they are, would drown what they show. An image's score is
the mean, over the tokens in the box, of the cosine of the image's best token (late interaction; Khattab and Zaharia
2020, arXiv 2004.12832). Where that is too much for all images, it is done for those whose parts score best.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, max_pool2d, normalize

from openjepa.data.crops import Box, Frame
from openjepa.encoder.windows import Window
from openjepa.errors import UsageError
from openjepa.indexing.patch_tokens import PATCHES, PatchGrid, as_tokens
from openjepa.indexing.store import Store
from openjepa.rng import SAMPLES, generator

BOX = "x0", "y0", "x1", "y1"  # columns of results
WORK = 2**30  # multiplications of a query with tokens of candidates, at most
HELD = 2**28  # bytes of tokens that are kept in memory between queries
BLOCK = 2**21  # numbers in a block of tokens that is read; in one that is computed with, as fit the cache:
CACHED = 2**18
SAMPLED = 512  # images that tokens are whitened by
WIDEST = 128  # numbers of a whitened token
DAMPING = 0.002  # added to the variances that are made equal, as a part of their mean
ASKED = 64  # tokens of a region that are compared, evenly spread over a larger one
PRIOR = 32  # images that stand for the mean of all places in that of each
PARTS = 4  # to a side of an image, by whose mean tokens candidates are found; fewer of many images
HALF = 0.5


class Region(NamedTuple):
    """A box of an image of `size` (width, height).

    tokens  [Q, D] unit tokens of the patches in `window`; places [Q] where in the grid they are
    frame   the box that the model sees of the image; `seen` is the fraction of the region's box that lies in it
    """

    tokens: Tensor
    places: Tensor
    window: Window
    size: tuple[int, int]
    frame: Box
    seen: float


class Found(NamedTuple):
    """Places [m] of images, best first, their scores, and the windows that are most similar to the region."""

    places: np.ndarray
    scores: Tensor
    windows: list[Window]


def check_box(box: Box, size: tuple[int, int], name: str) -> None:
    """Raise UsageError for a box that has no area in an image of `size` (width, height)."""
    width, height = size
    if not (len(box) == 4 and 0 <= box[0] < box[2] <= width and 0 <= box[1] < box[3] <= height):
        raise UsageError(
            f"--box {_given(box)} is not in {name} ({width} x {height} px): give X0 Y0 X1 Y1 with "
            f"0 <= X0 < X1 <= {width} and 0 <= Y0 < Y1 <= {height}"
        )


class Boxed(NamedTuple):
    """The patches in a box, what the model sees of the image (a box of pixels), and the fraction of the box in that."""

    window: Window
    frame: Box
    seen: float


def region_of(tokens: Tensor, box: Box, size: tuple[int, int], grid: PatchGrid, name: str) -> Region:
    """The region that a box (left, top, right, bottom; pixels) makes of an image of `size` (width, height).

    tokens [N, D] are unit tokens of the image. Raises UsageError as `window_of` does.
    """
    window, frame, seen = window_of(box, size, grid.frame, (grid.rows, grid.columns), name)
    places = window.places(grid.columns)
    return Region(tokens[places], places, window, size, frame, seen)


def window_of(box: Box, size: tuple[int, int], frame: Frame, grid_size: tuple[int, int], name: str) -> Boxed:
    """The patches of what a `frame` shows of an image that lie in a box.

    They are those of which at least half lies in the box along each side, and at least the one under the centre of what
    is seen of it. Raises UsageError for a box outside of the image, or of what the model sees of it.
    """
    check_box(box, size, name)
    left, top, right, bottom = seen = frame.box(*size)
    inside = max(box[0], left), max(box[1], top), min(box[2], right), min(box[3], bottom)
    if inside[0] >= inside[2] or inside[1] >= inside[3]:
        raise UsageError(
            f"--box {_given(box)} is outside of what the model sees of {name}, {in_pixels(seen)}: give a box in that"
        )
    across = _covered((inside[0] - left) / (right - left), (inside[2] - left) / (right - left), grid_size[1])
    down = _covered((inside[1] - top) / (bottom - top), (inside[3] - top) / (bottom - top), grid_size[0])
    fraction = (inside[2] - inside[0]) * (inside[3] - inside[1]) / ((box[2] - box[0]) * (box[3] - box[1]))
    return Boxed(Window(down.start, across.start, len(down), len(across)), seen, min(1.0, fraction))


def _covered(low: float, high: float, count: int) -> range:
    """The patches of a side that are at least half between two fractions of it; at least that in their middle."""
    edges = np.arange(count + 1)
    covered = np.minimum(edges[1:], high * count) - np.maximum(edges[:-1], low * count)
    there = np.flatnonzero(covered >= HALF)
    middle = min(count - 1, int((low + high) / 2 * count))
    return range(there[0], there[-1] + 1) if len(there) else range(middle, middle + 1)


def box_of(window: Window, size: tuple[int, int], grid: PatchGrid) -> tuple[int, int, int, int]:
    """The pixels (left, top, right, bottom) of patches in an image of `size` (width, height)."""
    return pixels_of(window, size, grid.frame, (grid.rows, grid.columns))


def patch_at(place: int, grid_size: tuple[int, int]) -> Window:
    """A patch by its number in a grid, row by row."""
    return Window(*divmod(place, grid_size[1]), 1, 1)


def pixels_of(
    window: Window, size: tuple[int, int], frame: Frame, grid_size: tuple[int, int]
) -> tuple[int, int, int, int]:
    """The pixels (left, top, right, bottom) of patches of what a `frame` shows of an image of `size`."""
    left, top, right, bottom = frame.box(*size)
    wide, high = (right - left) / grid_size[1], (bottom - top) / grid_size[0]
    x, y = left + window.left * wide, top + window.top * high
    return _rounded((x, y, x + window.columns * wide, y + window.rows * high))


def in_pixels(box: Sequence[float]) -> str:
    return " ".join(str(round(value)) for value in box)


def _given(box: Sequence[float]) -> str:
    return " ".join(f"{value:g}" for value in box)


def _rounded(box: Box) -> tuple[int, int, int, int]:
    left, top, right, bottom = (round(value) for value in box)
    return left, top, right, bottom


class Regions:
    """The patch tokens of an index of which `row_ids` [n] are LanceDB's numbers of the rows, in stored order."""

    def __init__(self, store: Store, row_ids: np.ndarray, grid: PatchGrid) -> None:
        self.store, self.row_ids, self.grid = store, row_ids, grid
        self.shape = grid.rows * grid.columns, grid.width

    def stored(self, places: np.ndarray) -> Tensor:
        """The unit tokens [m, N, D] of the images at some places. Raises UsageError where an image has none."""
        column = self.store.take(self.row_ids[places].tolist(), [PATCHES])[PATCHES].combine_chunks()
        self._check(column.null_count)
        return as_tokens(column, self.grid)

    def _check(self, missing: int) -> None:
        if missing:
            about = self.store.about
            raise UsageError(
                f"{self.store.folder} lacks patch tokens of some images: give openjepa index {about.model} "
                f"{about.source} --out {self.store.folder} --patches again"
            )

    def batches(self, most: int) -> Iterator[tuple[Tensor, list[str | None]]]:
        """The unit tokens [b, N, D] of all images in stored order, up to so many at a time, and their content hashes.

        Raises UsageError where an image has none.
        """
        for batch in self.store.batches([PATCHES, "content_hash"], most):
            self._check(batch.column(PATCHES).null_count)
            yield as_tokens(batch.column(PATCHES), self.grid), batch.column("content_hash").to_pylist()

    @cached_property
    def _basis(self) -> tuple[Tensor, Tensor]:
        """The mean unit token of each place [N, D], and the projection [D, W] that whitens."""
        some = np.sort(generator(0, SAMPLES).permutation(len(self.row_ids))[:SAMPLED])
        total, products = torch.zeros(self.shape).double(), torch.zeros(self.grid.width, self.grid.width).double()
        for part in np.array_split(some, 1 + len(some) * self.grid.size // BLOCK):
            tokens = self.stored(part)
            total += tokens.sum(dim=0)
            products += tokens.flatten(0, 1).T @ tokens.flatten(0, 1)
        count, overall = max(1, len(some)), total.mean(dim=0) / max(1, len(some))
        mean = overall + (total / count - overall) * count / (count + PRIOR)
        cross = total.T @ mean
        values, directions = torch.linalg.eigh(products - cross - cross.T + count * mean.T @ mean)
        values = values.clamp(min=0) / values.mean().clamp(min=torch.finfo(torch.float32).tiny)
        return mean.float(), (directions * (values + DAMPING).rsqrt())[:, -WIDEST:].float()

    def whitened(self, tokens: Tensor, places: Tensor | None = None) -> Tensor:
        """Unit tokens [..., N, D] of all or some places of the grid as whitened unit tokens [..., N, W]."""
        mean, projection = self._basis
        return normalize((tokens - (mean if places is None else mean[places])) @ projection, dim=-1)

    @cached_property
    def _read(self) -> tuple[Tensor, Tensor | None]:
        """Whitened parts of images [n, P, W] and, where memory has room for them, tokens [n, N, W]: float16."""
        count, (mean, projection) = len(self.row_ids), self._basis
        size, width = projection.shape[1] * self.shape[0], projection.shape[1]
        held = torch.empty(count, self.shape[0], width, dtype=torch.half) if 2 * count * size <= HELD else None
        side = next((side for side in range(PARTS, 1, -1) if 2 * count * side**2 * width <= HELD), 1)
        parts, start = torch.empty(count, side**2, width, dtype=torch.half), 0
        for batch in self.store.batches([PATCHES], max(1, BLOCK // self.grid.size)):
            self._check(batch.column(0).null_count)
            tokens = as_tokens(batch.column(0), self.grid)
            here = slice(start, start := start + len(tokens))
            parts[here] = normalize(self._pooled(tokens - mean, side) @ projection, dim=-1).half()
            if held is not None:
                held[here] = self.whitened(tokens).half()
        return parts, held

    def _pooled(self, tokens: Tensor, side: int) -> Tensor:
        """The mean tokens [b, side**2, D] of parts of images with tokens [b, N, D]."""
        maps = tokens.mT.unflatten(2, (self.grid.rows, self.grid.columns))
        return adaptive_avg_pool2d(maps, side).flatten(2).mT

    def best(self, region: Region, allowed: np.ndarray, top: int) -> Found:
        """The `top` allowed images that have something like a region. Equal scores are in stored order."""
        some = torch.linspace(0, len(region.places) - 1, min(len(region.places), ASKED)).round().long()
        query = self.whitened(region.tokens[some], region.places[some])
        candidates = self._candidates(query, allowed, top)
        scores = torch.cat([torch.empty(0), *(_late(tokens, query) for tokens in self._tokens(candidates))])
        order = scores.argsort(descending=True, stable=True)[:top]
        places, grid = candidates[order.numpy()], (self.grid.rows, self.grid.columns)
        windows = [window for tokens in self._tokens(places) for window in _places(tokens, query, region.window, grid)]
        return Found(places, scores[order], windows)

    def _candidates(self, query: Tensor, allowed: np.ndarray, top: int) -> np.ndarray:
        """Sorted places of the images that are compared token by token: all that are allowed, if these are few."""
        places, (parts, held) = np.flatnonzero(allowed), self._read
        work = self.shape[0] * query.shape[1] * (len(query) + (0 if held is not None else self.shape[1]))
        most = max(top, WORK // max(1, work))
        if len(places) <= most:
            return places
        blocks = parts.split(max(1, CACHED // max(1, parts[:1].numel())))
        scores = torch.cat([_late(block.float(), query) for block in blocks])
        scores = scores.masked_fill(~torch.from_numpy(allowed), -torch.inf)
        return np.sort(scores.topk(most).indices.numpy())

    def _tokens(self, places: np.ndarray) -> Iterator[Tensor]:
        """Whitened tokens [b, N, W] of the images at some places, a block at a time."""
        held = self._read[1]
        rows = max(1, (BLOCK if held is None else CACHED) // self.grid.size)
        for start in range(0, len(places), rows):
            some = places[start : start + rows]
            yield self.whitened(self.stored(some)) if held is None else held[torch.from_numpy(some)].float()


def _late(tokens: Tensor, query: Tensor) -> Tensor:
    """The scores [b] of images with tokens [b, N, D] for the tokens of a region [Q, D]."""
    cosines = query @ tokens.flatten(0, 1).T  # in this order the product takes half the time
    return cosines.unflatten(1, tokens.shape[:2]).amax(dim=2).mean(dim=0)


def _places(tokens: Tensor, query: Tensor, window: Window, grid: tuple[int, int]) -> list[Window]:
    """The windows of images, as large as `window`, in which the tokens of a region are found best."""
    maps = (tokens @ query.T).mT.unflatten(2, grid)
    scores = max_pool2d(maps, (window.rows, window.columns), stride=1).mean(dim=1)
    best = scores.flatten(1).argmax(dim=1).tolist()
    across = scores.shape[2]
    return [Window(place // across, place % across, window.rows, window.columns) for place in best]
