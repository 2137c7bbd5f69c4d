"""Depth and segmentation from frozen patch tokens, by a linear head and bilinear interpolation between patches."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate, one_hot

from openjepa.data.crops import Frame, size_of
from openjepa.data.dataset import ImageDataset
from openjepa.errors import BadImage, UsageError
from openjepa.evaluation.probes.logistic import linear_probe
from openjepa.evaluation.probes.ridge import ridge

PATCHES = 40_000  # that the segmentation head is fitted on
STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
WITHIN = 1.25  # delta1: the larger of truth and guess over the smaller (Eigen et al. 2014, arXiv 1406.2283)


@dataclass(frozen=True)
class Dense:
    """Patch tokens [n, N, D] of images on a grid (rows, columns), and their maps [n, H, W] at the model's size."""

    tokens: Tensor
    maps: Tensor
    grid_size: tuple[int, int]

    def rows(self, chosen: Tensor) -> "Dense":
        return Dense(self.tokens[chosen], self.maps[chosen], self.grid_size)


def crop_maps(
    read: Callable[[str], np.ndarray], paths: list[str], sizes: list[tuple[int, int]], frame: Frame
) -> Tensor:
    """Maps of images, cut and shrunk as the images are, by the nearest value: float32 [n, H, W].

    `sizes` are the images' (width, height). Raises UsageError for a map of other proportions than its image.
    """
    cut = []
    for path, (width, height) in zip(paths, sizes, strict=True):
        values = np.asarray(read(path), dtype=np.float32)
        _check_proportions(path, values, width, height)
        across, down = values.shape[1] / width, values.shape[0] / height
        left, top, right, bottom = frame.box(width, height)
        box = left * across, top * down, right * across, bottom * down
        cut.append(np.asarray(Image.fromarray(values).resize(frame.size[::-1], Image.Resampling.NEAREST, box=box)))
    return torch.from_numpy(np.stack(cut))


def check_map(read: Callable[[str], np.ndarray], dataset: ImageDataset, index: int) -> None:
    """Raise UsageError if the map of an image has other proportions than it: an error that is usually in all maps."""
    with contextlib.suppress(BadImage):
        _check_proportions(dataset.paths[index], read(dataset.paths[index]), *size_of(dataset.load(index)))


def _check_proportions(path: str, values: np.ndarray, width: int, height: int) -> None:
    if abs(values.shape[1] * height - values.shape[0] * width) > max(width, height):
        raise UsageError(
            f"the map of {path} is {values.shape[1]}x{values.shape[0]}, its image {width}x{height}: "
            "they must have the same proportions"
        )


def patches_of(maps: Tensor, grid_size: tuple[int, int]) -> Tensor:
    """Maps [n, H, W] cut into [n, N, pixels of a patch], row by row."""
    rows, columns = grid_size
    n, height, width = maps.shape
    cut = maps.view(n, rows, height // rows, columns, width // columns)
    return cut.permute(0, 1, 3, 2, 4).flatten(3).flatten(1, 2)


def spread(values: Tensor, grid_size: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Values [n, N, T] of patches as maps [n, T, H, W], bilinear between the middles of patches."""
    return interpolate(values.transpose(1, 2).unflatten(2, grid_size), size, mode="bilinear", align_corners=False)


def depth_rows(
    train: Dense, validation: Dense, test: Dense, device: torch.device | str = "cpu"
) -> tuple[np.ndarray, np.ndarray, dict]:
    """Rows [m, 2] of squared error and pixels, rows [m, 2] of pixels within 1.25 and pixels, and the setting.

    The head is least squares on the mean depth of each patch, over pixels whose depth is known (not NaN); guesses below
    the smallest training depth are raised to it.
    """
    head = ridge(*_known_patches(train), *_known_patches(validation), device)
    least, squares, close = train.maps[train.maps > 0].min(), [], []
    for tokens, maps in zip(test.tokens.split(64), test.maps.split(64), strict=True):
        guess = spread(head.predict(tokens), test.grid_size, maps.shape[1:])[:, 0].clamp(min=least)
        part = depth_errors(guess, maps)
        squares.append(part[0])
        close.append(part[1])
    return np.concatenate(squares), np.concatenate(close), {"strength": head.strengths[0]}


def depth_errors(guess: Tensor, maps: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Rows [m, 2] of squared error and known pixels, and of pixels within 1.25 and known ones, of depths [m, H, W]."""
    known, truth = maps.isfinite(), maps.nan_to_num(1.0)
    error = (guess - truth).square() * known
    near = (torch.maximum(guess / truth, truth / guess) < WITHIN) & known
    counts = known.sum((1, 2)).double()
    sums = error.double().sum((1, 2)), near.sum((1, 2)).double()
    return torch.stack([sums[0], counts], 1).numpy(), torch.stack([sums[1], counts], 1).numpy()


def _known_patches(part: Dense) -> tuple[Tensor, Tensor]:
    """Tokens [p, D] and mean depth [p, 1] of the patches in which most pixels are known."""
    patches = patches_of(part.maps, part.grid_size)
    known = patches.isfinite().float().mean(2) > 0.5
    if not known.any():
        raise UsageError("no patch has a known depth: depth maps hold 0 or less, or nothing, everywhere")
    return part.tokens[known], patches.nanmean(2)[known][:, None]


def segment_rows(
    train: Dense, validation: Dense, test: Dense, seed: int, device: torch.device | str = "cpu"
) -> tuple[np.ndarray, dict]:
    """Rows [m, 2 * C] of pixels in both and in either of truth and guess, a class each; and the setting.

    The head is softmax regression on the commonest value of each patch, on up to 40,000 patches; a value of -1 is
    unknown and counts nowhere.
    """
    x, y = _majority(train, seed)
    val_x, val_y = _majority(validation, seed)
    if len(y.unique()) < 2:
        raise UsageError("the masks of the training images show one class only: segmenting needs two or more")
    probe = linear_probe(x, y, val_x, val_y, val_x[:1], seed, inverse_strengths=STRENGTHS, device=device)
    classes = int(max(train.maps.max(), test.maps.max())) + 1
    rows = []
    for tokens, maps in zip(test.tokens.split(64), test.maps.split(64), strict=True):
        guess = probe.classes[spread(probe.logits(tokens), test.grid_size, maps.shape[1:]).argmax(1)]
        rows.append(overlaps(guess, maps, classes))
    return np.concatenate(rows), probe.setting


def commonest_rows(train: Dense, test: Dense) -> tuple[np.ndarray, int]:
    """The rows of `segment_rows` for always saying the commonest class of the training pixels, and that class."""
    classes = int(max(train.maps.max(), test.maps.max())) + 1
    commonest = int(torch.bincount(train.maps[train.maps >= 0].long()).argmax())
    parts = (overlaps(torch.full_like(maps, commonest).long(), maps, classes) for maps in test.maps.split(64))
    return np.concatenate(list(parts)), commonest


def overlaps(guess: Tensor, maps: Tensor, classes: int) -> np.ndarray:
    """Rows [m, 2 * C] of pixels in both and in either of truth and guess [m, H, W], where truth is known (not -1)."""
    known, truth = maps >= 0, maps.long().clamp(min=0)
    a, b = (one_hot(value, classes).bool() & known[..., None] for value in (truth, guess))
    both, either = ((a & b).sum((1, 2)), (a | b).sum((1, 2)))
    return torch.cat([both, either], 1).double().numpy()


def _majority(part: Dense, seed: int) -> tuple[Tensor, Tensor]:
    """Tokens [p, D] and the commonest value [p] of patches that are known."""
    values = patches_of(part.maps, part.grid_size).mode(2).values.long()
    chosen = (values >= 0).nonzero()
    order = torch.randperm(len(chosen), generator=torch.Generator().manual_seed(seed))[:PATCHES]
    images, places = chosen[order].T
    return part.tokens[images, places], values[images, places]


def mean_iou(sums: np.ndarray) -> np.ndarray:
    """Mean over classes that occur of intersection over union, from summed rows [..., 2 * C]."""
    both, either = np.split(sums, 2, axis=-1)
    fraction = both / np.maximum(either, 1)
    return (fraction * (either > 0)).sum(-1) / np.maximum((either > 0).sum(-1), 1)
