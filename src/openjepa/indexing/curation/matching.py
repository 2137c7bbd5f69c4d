"""Whether one image is a copy of another, and how it was changed, by their grey thumbnails.

A pair is compared in one of the eight orientations of a square. The copy is registered on the other image; where that
fails, the part of either that shows the other is sought first, by normalised cross-correlation at 32 px.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from openjepa.evaluation.same_view import correlation, moved, registration

SIDE, COARSE = 96, 32  # pixels
PARTS = (1.0, 0.92, 0.84, 0.76, 0.68)  # fractions of a side that a crop shows
SQUARE = [(part, part) for part in PARTS[1:]]
RECTANGLES = [(down, across) for down in PARTS for across in PARTS]
COPY = 0.6  # correlation of fine texture from which on images are copies
STRICTER = 0.25  # by which the correlation at 32 px must be higher, where images are too smooth for fine texture
PROMISING, LEAST_COARSE = 0.35, 0.5  # correlations at 32 px of a crop that is looked at closer
WHOLE = 0.98  # fraction of a side: smaller parts are crops
SLOPE, LEVELS = 0.06, 5.0  # changes of contrast, and of the mean in levels of 255, that are changes of brightness
AT_A_TIME = 64


@dataclass(frozen=True)
class Match:
    """How alike the images of n pairs are, once turned and registered.

    likeness    [n] correlation of fine texture, or where `smooth` that at 32 px less 0.25 if that is more
    part        [n] the fraction of a side that the smaller view shows of the other
    brightness  [n] bool, whether brightness or contrast differ
    """

    likeness: Tensor
    part: Tensor
    brightness: Tensor

    def where(self, better: Tensor, other: "Match") -> "Match":
        """`other` in the rows [n] that are `better`."""
        return Match(*(torch.where(better, getattr(other, k), getattr(self, k)) for k in vars(self)))


def oriented(images: Tensor, orientation: int) -> Tensor:
    """Square images [n, S, S] turned by `orientation` % 4 quarters and then, from 4 on, mirrored."""
    turned = torch.rot90(images, orientation % 4, (1, 2))
    return turned.flip(2) if orientation >= 4 else turned


def compare(ones: Tensor, others: Tensor, crops: bool, smooth: bool = True) -> Match:
    """Pairs of grey images [n, 96, 96] float32 as they are; with `crops`, also parts of one another.

    `smooth`: images may be told by their coarse structure, which images of one view share.
    """
    found = _registered(ones, others, torch.ones(len(ones)), smooth)
    if not crops or bool((found.likeness >= COPY).all()):
        return found
    for whole, part in ((ones, others), (others, ones)):
        rows = torch.nonzero((found.likeness < COPY) & (_sought(whole, part, SQUARE)[1] >= PROMISING))[:, 0]
        box, score = _sought(whole[rows], part[rows], RECTANGLES)
        rows, box = rows[score >= LEAST_COARSE], box[score >= LEAST_COARSE]
        if len(rows):
            closer = _registered(_cut(whole[rows], box), part[rows], box[:, 2:].mean(dim=1), smooth)
            spread = Match(*(getattr(found, k).clone().index_put((rows,), getattr(closer, k)) for k in vars(found)))
            found = found.where(spread.likeness > found.likeness, spread)
    return found


def _registered(images: Tensor, onto: Tensor, part: Tensor, smooth: bool) -> Match:
    place = registration(images, onto)
    fitted = moved(images, place)
    scale = place[:, 2:].mean(dim=1)
    centred, target = _centred(fitted), _centred(onto)
    slope = (centred * target).sum(1) / centred.square().sum(1).clamp(min=1e-6)
    shift = (onto.mean((1, 2)) - fitted.mean((1, 2))).abs()
    likeness = correlation(fitted, onto)
    if smooth:
        coarse = F.cosine_similarity(_centred(_fine(fitted)), _centred(_fine(onto)))
        likeness = torch.maximum(likeness, coarse - STRICTER)
    return Match(
        likeness,
        part * torch.minimum(scale, 1 / scale),
        ((slope - 1).abs() > SLOPE) | (shift > LEVELS),
    )


def _sought(whole: Tensor, part: Tensor, shapes: Sequence[tuple[float, float]]) -> tuple[Tensor, Tensor]:
    """Where in images [n, S, S] others lie: (left, top, width, height) in fractions [n, 4], and the correlation [n].

    `shapes`: the (height, width) that are tried, in fractions.
    """
    field = _fine(whole)
    box, best = torch.tensor([0.0, 0.0, 1.0, 1.0]).repeat(len(whole), 1), torch.full((len(whole),), -1.0)
    for down, across in shapes if len(whole) else ():
        rows, columns = round(COARSE * down), round(COARSE * across)
        template = _fine(part, (rows, columns))
        template = template - template.mean((1, 2), keepdim=True)
        windows = F.unfold(field[:, None], (rows, columns))  # [n, rows * columns, positions]
        windows = windows - windows.mean(dim=1, keepdim=True)
        dot = torch.bmm(template.flatten(1)[:, None], windows)[:, 0]
        norms = windows.norm(dim=1) * template.flatten(1).norm(dim=1)[:, None]
        score, place = (dot / norms.clamp(min=1e-6)).max(dim=1)
        wide = COARSE - columns + 1
        here = torch.stack([(place % wide) / COARSE, place // wide / COARSE], 1)
        here = torch.cat([here, torch.tensor([[columns, rows]]) / COARSE * torch.ones(len(whole), 1)], 1)
        better = score > best
        box, best = torch.where(better[:, None], here, box), torch.where(better, score, best)
    return box, best


def _centred(images: Tensor) -> Tensor:
    return images.flatten(1) - images.flatten(1).mean(dim=1, keepdim=True)


def _fine(images: Tensor, size: tuple[int, int] = (COARSE, COARSE)) -> Tensor:
    """Images [n, S, S] at another size, less their surroundings."""
    small = F.interpolate(images[:, None], size, mode="bilinear", antialias=True)
    around = F.avg_pool2d(F.pad(small, (4,) * 4, mode="replicate"), 9, 1)
    return (small - around)[:, 0]


def _cut(images: Tensor, box: Tensor) -> Tensor:
    """The boxes (left, top, width, height) [n, 4] of images [n, S, S], at their size."""
    place = torch.cat([2 * box[:, :2] + box[:, 2:] - 1, box[:, 2:]], dim=1)
    return moved(images, place)
