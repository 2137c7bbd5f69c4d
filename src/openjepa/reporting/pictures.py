"""Pictures of what a model masks, sees and finds alike: arrays in, uint8 arrays [H, W, 3] out."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

PALETTE = ((240, 148, 50), (64, 156, 222), (226, 104, 152), (92, 178, 106), (154, 122, 212), (214, 192, 66))
"""One colour for each target block, told apart with any colour vision in the order given; repeated after six."""

VEIL = np.array((22, 25, 31), np.float32)
PAPER = (255, 255, 255)


def enlarge(image: np.ndarray, side: int = 224) -> np.ndarray:
    """An image [H, W, 3] with every pixel repeated a whole number of times, its longer side about `side` pixels."""
    factor = max(1, round(side / max(image.shape[:2])))
    return image.repeat(factor, axis=0).repeat(factor, axis=1)


def draw_masks(image: np.ndarray, context_ids: Tensor, target_ids: Tensor, grid_size: tuple[int, int]) -> np.ndarray:
    """The image with all but its context dimmed, and each target block tinted and outlined in its own colour.

    image uint8 [H, W, 3], whose sides are multiples of the grid; context_ids [Nc]; target_ids [M, Nt]. The pixels of
    context patches are left as they are (but for an outline, should a target cover them).
    """
    context = _region(context_ids, grid_size, image.shape)
    picture = np.where(context[..., None], image, 0.22 * image + 0.78 * VEIL)
    targets = [_region(ids, grid_size, image.shape) for ids in target_ids]
    colours = [np.array(PALETTE[i % len(PALETTE)], np.float32) for i in range(len(targets))]
    for region, colour in zip(targets, colours, strict=True):
        veiled = region & ~context
        picture[veiled] = 0.72 * picture[veiled] + 0.28 * colour
    for region, colour in zip(targets, colours, strict=True):
        picture[_outline(region, max(1, max(image.shape) // 112))] = colour
    return picture.round().astype(np.uint8)


def _region(ids: Tensor, grid_size: tuple[int, int], shape: tuple[int, ...]) -> np.ndarray:
    """The pixels [H, W] that belong to patches."""
    inside = np.zeros(grid_size[0] * grid_size[1], bool)
    inside[ids.numpy()] = True
    inside = inside.reshape(grid_size)
    return inside.repeat(shape[0] // grid_size[0], axis=0).repeat(shape[1] // grid_size[1], axis=1)


def _outline(region: np.ndarray, width: int) -> np.ndarray:
    """The pixels of a region [H, W] within `width` of its edge."""
    core = np.pad(region, width)
    for axis in (0, 1):
        core = np.logical_and.reduce([np.roll(core, shift, axis) for shift in range(-width, width + 1)])
    return region & ~core[width:-width, width:-width]


def pca_maps(tokens: Tensor) -> np.ndarray:
    """The first three principal components of patch tokens [B, rows, columns, D] as colours, uint8 [B, rows, columns, 3].

    The components are those of all tokens together, so a colour means the same in every image. Red, green and blue
    span the 2nd to the 98th percentile of the first, second and third; a component without variance is mid-grey.
    """
    flat = tokens.flatten(0, 2).double()
    centred = flat - flat.mean(dim=0)
    directions = torch.linalg.eigh(centred.T @ centred).eigenvectors[:, -3:].flip(1)
    peaks = directions.gather(0, directions.abs().argmax(dim=0, keepdim=True))  # eigenvectors have no sign of their own
    scores = (centred @ (directions * peaks.sign())).numpy()
    low, high = np.percentile(scores, (2, 98), axis=0)
    varies = high - low > 1e-9 * max(1.0, float(flat.abs().max()))
    shares = np.where(varies, (scores - low) / np.where(varies, high - low, 1), 0.5)
    return (shares.clip(0, 1) * 255).round().astype(np.uint8).reshape(*tokens.shape[:3], 3)


def nearest(embeddings: Tensor, queries: Sequence[int], k: int) -> Tensor:
    """The k images most alike each query by cosine, best first, itself left out: int64 [len(queries), k].

    embeddings [n, D]; queries are indices into them; k < n.
    """
    unit = torch.nn.functional.normalize(embeddings.float(), dim=1)
    likeness = unit[list(queries)] @ unit.T
    likeness[torch.arange(len(likeness)), list(queries)] = -torch.inf
    return likeness.argsort(dim=1, descending=True, stable=True)[:, :k]


def contact_sheet(
    images: Sequence[np.ndarray], columns: int, gap: int = 8, paper: tuple[int, int, int] = PAPER
) -> np.ndarray:
    """Images [H, W, 3] of one size in rows of `columns`, `gap` pixels apart, uint8."""
    height, width = images[0].shape[:2]
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), paper, np.uint8)
    for i, image in enumerate(images):
        top, left = i // columns * (height + gap), i % columns * (width + gap)
        sheet[top : top + height, left : left + width] = image
    return sheet


def stack(images: Sequence[np.ndarray], gap: int = 16, paper: tuple[int, int, int] = PAPER) -> np.ndarray:
    """Images [H, W, 3] below one another, centred, with a margin of `gap` pixels around, uint8."""
    width = max(image.shape[1] for image in images)
    sides = [(width - image.shape[1]) // 2 for image in images]
    padded = [
        np.stack(
            [
                np.pad(
                    image[..., c],
                    ((0, gap), (side + gap, width - image.shape[1] - side + gap)),
                    constant_values=paper[c],
                )
                for c in range(3)
            ],
            -1,
        )
        for image, side in zip(images, sides, strict=True)
    ]
    top = np.full((gap, width + 2 * gap, 3), paper, np.uint8)
    return np.concatenate([top, *padded])
