"""Copies among the images of an index: found, grouped, and explained."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import torch
import torch.nn.functional as F
from PIL import Image
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from openjepa.evaluation.near_duplicates import ALIKE, ONE_VIEW, edges, least_alike
from openjepa.evaluation.same_view import least_texture
from openjepa.indexing.curation.matching import AT_A_TIME, COPY, SIDE, WHOLE, compare, oriented
from openjepa.indexing.curation.neighbours import nearest_of_all
from openjepa.indexing.searchable import Searchable, picture_of
from openjepa.indexing.store import GREY_SIDE

KINDS = (
    "exact file",
    "same pixels",
    "re-encoded",
    "resized",
    "brightness changed",
    "cropped",
    "flipped or turned",
    "near only by embedding",
)
ORIENTATIONS = 8
# Parts (top, left, side) of thumbnails that are compared with whole ones, to find crops.
WINDOWS = ((1, 1, 14), (2, 2, 12), (0, 0, 14), (0, 2, 14), (2, 0, 14), (2, 2, 14))
NEAR, LOOKING = 4, 2  # neighbours by vector, and by edges, that are compared closely
LEAST_EDGES = 0.35
MOST = 8  # partners of an image in each orientation
HELD = 2**22  # correlations at a time
CLOSER = 4.0  # times that images near by embedding alone are closer than the median image is to its nearest
FACTS = ("width", "height", "content_hash", "pixel_hash")
Link = tuple[int, int, int, str]  # two places, how the second is turned to look like the first, and the kind


def duplicates(index: Searchable, embedding: bool = False) -> pa.Table:
    """Groups of copies, with what was done to each.

    Of a group the image with the most pixels is to keep; of equal ones that with the larger file, then that with the
    shorter path. The others are explained beside it: exact file, same pixels, re-encoded, resized, brightness changed,
    cropped, or flipped or turned, the last of these that is true. With `embedding` also images that are far closer
    by their vectors than images usually are, and no copies.

    Columns: group (from 1, the largest first), path, kind ("keep" of the one to keep), of (the path that it is a copy
    of), cosine (to that), width, height, bytes.
    """
    if len(index) < 2:
        return _table(index, [], [])
    facts = {name: index.column(name).to_pylist() for name in FACTS} | {"bytes": index.sizes()}
    links = _equal(facts["content_hash"], "exact file") + _equal(facts["pixel_hash"], "same pixels")
    nearest = nearest_of_all(index.plain_vectors, min(NEAR, len(index) - 1))
    links += _copies(index, facts, nearest[0], links)
    links += _by_embedding(*nearest) if embedding else []
    return _table(index, _groups(len(index), links), links, facts)


def _equal(values: Sequence[str], kind: str) -> list[Link]:
    """Links from the first image to each other one with the same value."""
    first: dict[str, int] = {}
    return [(a, place, 0, kind) for place, value in enumerate(values) if (a := first.setdefault(value, place)) != place]


def _by_embedding(places: np.ndarray, cosines: np.ndarray) -> list[Link]:
    distance = 1 - cosines[:, 0]
    near = np.flatnonzero(distance < np.median(distance) / CLOSER)
    return [(int(place), int(places[place, 0]), 0, KINDS[-1]) for place in near]


def _firsts(count: int, links: Sequence[Link]) -> np.ndarray:
    """Of each image [n] the first of those that it is linked with."""
    first = np.arange(count)
    for a, b, *_ in links:
        first[b] = min(first[b], a)
    while (first[first] != first).any():
        first = first[first]
    return first


def _copies(index: Searchable, facts: dict[str, list], nearest: np.ndarray, equal: Sequence[Link]) -> list[Link]:
    """Links between images that look the same once one is turned, cropped, resized or changed in brightness.

    Of images that are `equal` the first stands for all, so that a set may hold one image a thousand times.
    """
    first = _firsts(len(index), equal)
    some = np.flatnonzero(first == np.arange(len(first)))
    grey = index.column("grey").combine_chunks().take(pa.array(some))
    flat = np.frombuffer(b"".join(grey.to_pylist()), np.uint8).reshape(-1, GREY_SIDE, GREY_SIDE)
    bank = edges(torch.tensor(flat).float().flatten(1))
    least = least_alike(bank, bank)
    one_view = least > ALIKE
    near = np.searchsorted(some, first[nearest[some]])
    asked = {(min(a, b), max(a, b), 0) for a, row in enumerate(near.tolist()) for b in row if b != a and bank[a].any()}
    whole = torch.tensor(flat).float()
    for turn in range(ORIENTATIONS):
        view, few = (edges(oriented(whole, turn).flatten(1)), 0) if turn else (bank, LOOKING)
        asked |= {(a, b, turn) for a, b in _by_edges(bank, view, ONE_VIEW if one_view else ALIKE, few) if a < b}
    for window in WINDOWS:
        found = _by_edges(bank, edges(_part(whole, window).flatten(1)), ALIKE, LOOKING)
        asked |= {(min(a, b), max(a, b), 0) for a, b in found}
    pairs = sorted((int(some[a]), int(some[b]), turn) for a, b, turn in asked)
    larger = _Grey(index)

    def picture(number: int) -> np.ndarray:
        return larger.at(int(some[number]))

    limit = max(COPY, least_texture(picture, picture, len(some), len(some))) if one_view else COPY
    return [
        link
        for start in range(0, len(pairs), AT_A_TIME)
        for link in _verified(larger, facts, pairs[start : start + AT_A_TIME], limit)
    ]


def _by_edges(bank: Tensor, views: Tensor, least: float, few: int) -> Iterator[tuple[int, int]]:
    """Pairs (a, b) whose edges correlate by `least`, b in another view; and of each image a `few` others by less."""
    start = 0
    for part in bank.split(max(1, HELD // len(bank))):
        close = part @ views.T
        rows = torch.arange(len(part))
        close[rows, rows + start] = -1
        values, places = close.topk(min(MOST, close.shape[1]), dim=1)
        kept = values >= least
        kept[:, :few] |= values[:, :few] >= LEAST_EDGES
        for row, column in torch.nonzero(kept).tolist():
            yield start + row, int(places[row, column])
        start += len(part)


def _part(images: Tensor, window: tuple[int, int, int]) -> Tensor:
    """A square (top, left, side) of images [n, 16, 16] at their size."""
    top, left, side = window
    cut = images[:, None, top : top + side, left : left + side]
    return F.interpolate(cut, images.shape[1:], mode="bicubic")[:, 0]


class _Grey:
    """The grey thumbnails of an index as squares of 96 px."""

    def __init__(self, index: Searchable) -> None:
        self.index = index

    def of(self, places: Sequence[int]) -> Tensor:
        wanted = sorted(set(places))
        found = self.index.rows_at(wanted, ["thumbnail"])["thumbnail"].to_pylist()
        squares = dict(zip(wanted, map(_square, found), strict=True))
        return torch.stack([squares[place] for place in places])

    def at(self, place: int) -> np.ndarray:
        return self.of([place])[0].round().byte().numpy()


def _square(thumbnail: bytes) -> Tensor:
    picture = Image.fromarray(picture_of(thumbnail)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return torch.tensor(np.asarray(picture)).float().mean(dim=2)


def _verified(larger: _Grey, facts: dict[str, list], pairs: Sequence[tuple[int, int, int]], least: float) -> list[Link]:
    """Those pairs that are copies of one another, with the kind."""
    ones, others = larger.of([a for a, *_ in pairs]), larger.of([b for _, b, _ in pairs])
    turns = torch.tensor([turn for *_, turn in pairs])
    for turn in turns.unique().tolist():
        others[turns == turn] = oriented(others[turns == turn], turn)
    found: list[Link] = []
    for crops in (False, True):
        rows = torch.nonzero((turns == 0) if crops else (turns >= 0))[:, 0]
        rows = rows[[(pairs[row][:2]) not in {link[:2] for link in found} for row in rows.tolist()]] if crops else rows
        if not len(rows):
            continue
        match = compare(ones[rows], others[rows], crops, smooth=least == COPY)
        for number in torch.nonzero(match.likeness >= least)[:, 0].tolist():
            a, b, turn = pairs[int(rows[number])]
            changed = bool(match.part[number] < WHOLE), bool(match.brightness[number])
            found.append((a, b, turn, _kind(facts, a, b, turn, *changed)))
    return found


def _kind(facts: dict[str, list], a: int, b: int, turn: int, cropped: bool, brightness: bool) -> str:
    if turn:
        return "flipped or turned"
    if cropped:
        return "cropped"
    if brightness:
        return "brightness changed"
    same = all(facts[name][a] == facts[name][b] for name in ("width", "height"))
    return "re-encoded" if same else "resized"


def _groups(count: int, links: Sequence[Link]) -> list[list[int]]:
    """Connected images, the largest groups first."""
    if not links:
        return []
    ones, others = np.array([link[:2] for link in links]).T
    graph = coo_matrix((np.ones(len(ones), bool), (ones, others)), shape=(count, count))
    member = connected_components(graph, directed=False)[1]
    groups: dict[int, list[int]] = {}
    for place in np.unique(np.concatenate([ones, others])).tolist():
        groups.setdefault(int(member[place]), []).append(place)
    return sorted(groups.values(), key=lambda group: (-len(group), group[0]))


def _table(
    index: Searchable, groups: list[list[int]], links: Sequence[Link], facts: dict[str, list] | None = None
) -> pa.Table:
    rows: dict[str, list] = {name: [] for name in ("group", "path", "kind", "of", "cosine", "width", "height", "bytes")}
    by_pair: dict[tuple[int, int], Link] = {}
    for link in reversed(links):  # the first kind that was found of a pair stays
        by_pair[link[0], link[1]] = by_pair[link[1], link[0]] = link
    partners: dict[int, list[int]] = {}
    for a, b in by_pair:
        partners.setdefault(a, []).append(b)
    paths = index.paths.to_pylist() if groups else []
    for number, group in enumerate(groups, 1):
        assert facts is not None
        order = sorted(group, key=lambda place: _worth(facts, paths, place))
        keeper = order[0]
        for place in order:
            near = partners[place]
            other = (
                keeper if keeper in near else min(near, key=lambda each: (KINDS.index(by_pair[place, each][3]), each))
            )
            kind = "keep" if place == keeper else by_pair[place, other][3]
            one, two = index.plain_vectors.at([place, other if kind != "keep" else place])
            values = number, paths[place], kind, None if kind == "keep" else paths[other], float(one @ two)
            sizes = facts["width"][place], facts["height"][place], facts["bytes"][place]
            for name, value in zip(rows, (*values, *sizes), strict=True):
                rows[name].append(value)
    kinds = {
        "group": pa.int64(),
        "cosine": pa.float64(),
        "width": pa.int64(),
        "height": pa.int64(),
        "bytes": pa.int64(),
    }
    return pa.table({name: pa.array(values, kinds.get(name, pa.string())) for name, values in rows.items()})


def _worth(facts: dict[str, list], paths: Sequence[str], place: int) -> tuple[int, int, int, str]:
    """What sorts the image to keep first."""
    pixels = facts["width"][place] * facts["height"][place]
    return -pixels, -(facts["bytes"][place] or 0), len(paths[place]), paths[place]
