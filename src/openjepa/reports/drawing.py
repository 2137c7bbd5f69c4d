"""Pictures as uint8 arrays [H, W, 3]: masks on images, patch maps, contact sheets; and the nearest images."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from openjepa.data.crops import Frame, as_picture, resize_centre_crop, size_of
from openjepa.data.dataset import UNLABELLED, ImageDataset

PALETTE = ((240, 148, 50), (64, 156, 222), (226, 104, 152), (92, 178, 106), (154, 122, 212), (214, 192, 66))
"""The colours of target blocks, distinguishable with colour blindness in this order; repeated after six."""

VEIL = np.array((40, 44, 52), np.float32)


def at_display_size(image: np.ndarray, grid_size: tuple[int, int], side: int = 224) -> np.ndarray:
    """An image [H, W, 3] with its longer side about `side` pixels and a whole number of pixels to a patch of the grid.

    Small images are enlarged by repeating each pixel, so that the picture shows exactly what the model sees.
    """
    factor = round(side / max(image.shape[:2]))
    if factor:
        return image.repeat(factor, axis=0).repeat(factor, axis=1)
    cell = max(1, side // max(grid_size))
    return np.asarray(
        Image.fromarray(image).resize((grid_size[1] * cell, grid_size[0] * cell), Image.Resampling.BICUBIC)
    )


def draw_masks(image: np.ndarray, context_ids: Tensor, target_ids: Tensor, grid_size: tuple[int, int]) -> np.ndarray:
    """The image dimmed outside of its context, with each target block tinted and outlined in its own colour.

    image uint8 [H, W, 3], whose sides are multiples of the grid; context_ids [Nc]; target_ids [M, Nt]. The pixels of
    context patches are unchanged, except for the outline of a target that covers them.
    """
    context = _region(context_ids, grid_size, image.shape)
    picture = np.where(context[..., None], image, 0.22 * image + 0.78 * VEIL)
    targets = [_region(ids, grid_size, image.shape) for ids in target_ids]
    colours = [np.array(PALETTE[i % len(PALETTE)], np.float32) for i in range(len(targets))]
    for region, colour in zip(targets, colours, strict=True):
        veiled = region & ~context
        picture[veiled] = 0.72 * picture[veiled] + 0.28 * colour
    for region, colour in zip(targets, colours, strict=True):
        picture[outline(region, max(1, max(image.shape) // 112))] = colour
    return picture.round().astype(np.uint8)


def _region(ids: Tensor, grid_size: tuple[int, int], shape: tuple[int, ...]) -> np.ndarray:
    """The pixels [H, W] that belong to patches."""
    inside = np.zeros(grid_size[0] * grid_size[1], bool)
    inside[ids.numpy()] = True
    inside = inside.reshape(grid_size)
    return inside.repeat(shape[0] // grid_size[0], axis=0).repeat(shape[1] // grid_size[1], axis=1)


def outline(region: np.ndarray, width: int) -> np.ndarray:
    """The pixels of a region [H, W] within `width` of its edge."""
    core = np.pad(region, width)
    for axis in (0, 1):
        core = np.logical_and.reduce([np.roll(core, shift, axis) for shift in range(-width, width + 1)])
    return region & ~core[width:-width, width:-width]


def pca_maps(tokens: Tensor) -> np.ndarray:
    """The first three principal components of patch tokens [B, rows, columns, D] as colours: uint8, D becomes 3.

    The components are computed over all tokens together, so a colour means the same in every image. Red, green and blue
    span the 2nd to the 98th percentile of the first, second and third; a component without variance is mid-grey.
    """
    flat = tokens.flatten(0, 2).double()
    centred = flat - flat.mean(dim=0)
    directions = torch.linalg.eigh(centred.T @ centred).eigenvectors[:, -3:].flip(1)
    peaks = directions.gather(0, directions.abs().argmax(dim=0, keepdim=True))  # to fix the signs
    scores = (centred @ (directions * peaks.sign())).numpy()
    low, high = np.percentile(scores, (2, 98), axis=0)
    varies = high - low > 1e-9 * max(1.0, float(flat.abs().max()))
    fractions = np.where(varies, (scores - low) / np.where(varies, high - low, 1), 0.5)
    return (fractions.clip(0, 1) * 255).round().astype(np.uint8).reshape(*tokens.shape[:3], 3)


def contact_sheet(images: Sequence[np.ndarray], columns: int, gap: int = 8) -> np.ndarray:
    """Images [H, W, 3] of one size in rows of `columns`, `gap` pixels of white apart: uint8."""
    height, width = images[0].shape[:2]
    rows = -(-len(images) // columns)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for i, image in enumerate(images):
        top, left = i // columns * (height + gap), i % columns * (width + gap)
        sheet[top : top + height, left : left + width] = image
    return sheet


def stack(images: Sequence[np.ndarray], gap: int = 24) -> np.ndarray:
    """Images [H, W, 3] below one another on white, `gap` pixels apart and from the edges: uint8."""
    width = max(image.shape[1] for image in images)
    padded = [np.pad(x, ((0, gap), (gap, width - x.shape[1] + gap), (0, 0)), constant_values=255) for x in images]
    return np.pad(np.concatenate(padded), ((gap, 0), (0, 0), (0, 0)), constant_values=255)


class Tile(NamedTuple):
    """An image uint8 [H, W, 3], its path, and the lines below it, each short and as it is whole."""

    image: np.ndarray
    path: str
    lines: tuple[tuple[str, str], ...]


TILE = 112  # pixels
CAPTION = 30  # characters of a line below a picture, which may be broken in two


def file_name(path: str) -> str:
    return path.rpartition("/")[2]


def elided(text: str, most: int) -> str:
    """The text with the middle left out where it is longer than `most` characters: names often differ in their ends."""
    end = most * 2 // 3
    return text if len(text) <= most else f"{text[: most - end - 1]}…{text[-end:]}"


def whole_frame(width: int, height: int) -> Frame:
    """The frame, 112 px wide, that shows an image whole, if it is at most twice as long as wide."""
    return Frame((min(max(round(TILE * height / width), TILE // 2), TILE * 2), TILE), 0.1)


def tile_of(
    dataset: ImageDataset,
    index: int,
    frame: Frame | None = None,
    before: Sequence[str] = (),
    after: Sequence[str] = (),
) -> Tile:
    """An image of a dataset, as a frame shows it or else whole, above its file name and its first label."""
    path, image = dataset.paths[index], dataset.load(index)
    picture = resize_centre_crop(image, *(frame or whole_frame(*size_of(image))))
    label = next(iter(dataset.classes), None)
    number = UNLABELLED if label is None else dataset.labels[label][index]
    named = dataset.classes[label][number] if label is not None and number != UNLABELLED else ""
    lines = (*before, file_name(path), named, *after)
    return Tile(as_picture(picture), path, tuple((elided(line, CAPTION), line) for line in lines if line))
