"""What is odd about a set of images, found by looking at every one: unreadable, repeated, too dark, too flat."""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from openjepa.data.crops import Frame
from openjepa.data.dataset import UNLABELLED, ImageDataset, ImageFiles
from openjepa.data.storage.storage import Skipped
from openjepa.data.summary import Summary
from openjepa.encoder.features import Progress, compute_features, no_progress
from openjepa.errors import BadImage
from openjepa.evaluation.near_duplicates import SIDE, GreyThumbnails, alike_groups, larger_of, near_duplicates
from openjepa.rng import SAMPLES, generator

LOOKED_AT = 64  # pixels a side
FAR = 3.5  # modified z-score (Iglewicz and Hoaglin 1993, "How to detect and handle outliers")
COMPARED = 50_000  # images among which near duplicates are sought


class Looks:
    """A model whose features are brightness, contrast (std of the grey values) and the thumbnail of near duplicates.

    Brightness and contrast are fractions of full scale for integers, else in the images' own numbers.
    """

    name, image_size, pixel_format = "looks", (LOOKED_AT, LOOKED_AT), None
    frame = Frame(image_size, math.inf)

    def features(self, images: Tensor) -> Tensor:
        values = images.float() / 255 if images.dtype == torch.uint8 else images
        grey = values.mean(1).flatten(1)
        small = F.avg_pool2d(images.float(), LOOKED_AT // SIDE)
        thumbnails = GreyThumbnails().features(small.round().to(images.dtype))
        return torch.cat([grey.mean(1, keepdim=True), grey.std(1, keepdim=True), thumbnails], dim=1)


@dataclass
class Survey:
    """A source with what was found in it.

    kept        indices [n] of the images that can be read, to which `brightness` and `contrast` [n] belong
    unreadable  (path, reason)
    exact       paths of equal files, group by group
    near        indices of images that look the same, group by group, without those that are equal files
    flat        images that are too flat to be compared
    one_view    whether so many look the same that only much closer ones are in `near`
    compared    images among which near duplicates were sought
    odd         indices of images, by what is odd about them: dark, bright, flat, harsh
    thumbnails  [n, D]
    """

    dataset: ImageDataset
    summary: Summary
    kept: np.ndarray
    brightness: np.ndarray
    contrast: np.ndarray
    unreadable: Skipped
    exact: list[list[str]]
    near: list[list[int]]
    flat: int
    one_view: bool
    compared: int
    odd: dict[str, list[int]]
    thumbnails: Tensor

    def two_classes(self) -> list[list[str]]:
        """Groups of equal files that lie in more than one class."""
        for values in self.dataset.labels.values():
            of = dict(zip(self.dataset.paths, values.tolist(), strict=True))
            return [group for group in self.exact if len({of.get(path) for path in group} - {None, UNLABELLED}) > 1]
        return []


def look(dataset: ImageDataset, summary: Summary, workers: int, progress: Progress = no_progress) -> Survey:
    """Decode and survey every image. Raises UsageError if none can be read."""
    looks, kept, bad = compute_features(Looks(), dataset, workers, progress=progress)
    brightness, contrast, thumbnails = looks[:, 0].numpy(), looks[:, 1].numpy(), looks[:, 2:]
    some = np.sort(generator(0, SAMPLES).permutation(len(kept))[:COMPARED])
    alike = alike_groups(thumbnails[some], larger_of(dataset, kept[some]))
    exact = {path: number for number, group in enumerate(summary.duplicates) for path in group}
    near = [[int(kept[some[row]]) for row in group] for group in alike.groups]
    near = [group for group in near if not _equal_files([exact.get(dataset.paths[index]) for index in group])]
    odd = {
        "dark": kept[_far(brightness, -1)],
        "bright": kept[_far(brightness, 1)],
        "flat": kept[_far(contrast, -1)],
        "harsh": kept[_far(contrast, 1)],
    }
    odd = {what: indices.tolist() for what, indices in odd.items()}
    unreadable = summary.skipped + bad
    found = (brightness, contrast, unreadable, summary.duplicates, near, alike.flat, alike.one_view)
    return Survey(dataset, summary, kept, *found, len(some), odd, thumbnails)


def _equal_files(groups: list[int | None]) -> bool:
    """Whether images, by their groups of equal files, are all of one."""
    return None not in groups and len(set(groups)) == 1


def _far(values: np.ndarray, side: int) -> np.ndarray:
    """Places of values that lie far below (-1) or above (1) the others, the farthest first."""
    middle = np.median(values)
    spread = 1.4826 * np.median(np.abs(values - middle))  # the standard deviation, were they normal
    distance = side * (values - middle)
    far = np.flatnonzero(distance > FAR * max(spread, 1e-3 * np.abs(middle), 1e-12))
    return far[np.argsort(-distance[far], kind="stable")]


@dataclass(frozen=True)
class Leak:
    """An image of another source, by its index there, that looks like one here; `equal` if the files are equal."""

    other: int
    here: int
    equal: bool


def leaks_between(here: Survey, other: Survey) -> list[Leak]:
    """The images of `other` that are also in `here`, with the most similar one there."""
    larger = larger_of(here.dataset, here.kept), larger_of(other.dataset, other.kept)
    alike = near_duplicates(here.thumbnails[:COMPARED], other.thumbnails[:COMPARED], larger)
    places = [(int(other.kept[row]), int(here.kept[alike.partners[row]])) for row in alike.found]
    return [Leak(a, b, _equal(other.dataset, a, here.dataset, b)) for a, b in places]


def _equal(one: ImageDataset, a: int, other: ImageDataset, b: int) -> bool:
    if not (isinstance(one, ImageFiles) and isinstance(other, ImageFiles)):
        return False
    try:
        return one.digest(a) == other.digest(b)
    except BadImage:
        return False
