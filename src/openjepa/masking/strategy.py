"""The contract of a mask strategy, and what several strategies share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from openjepa.masking.settings import Masks, MaskSettings


@dataclass(frozen=True)
class Strategy:
    """One way to choose context and target patches, as an entry of `openjepa.masking.samplers.STRATEGIES`.

    sample           masks of a whole batch: (settings, batch size, generator of this step) -> Masks
    check            raises ValueError, naming the nearest that is possible, if the settings do not fit the grid
    help             one line for help screens
    defaults         settings in which it differs from MaskSettings
    derived          further defaults that follow from the context ratio and from whether every hidden patch is a target
    unused           settings that it ignores, or of which it knows one value
    same_shapes      whether context_ids and target_ids have the same shape in every step
    batch_dependent  whether the masks of an image depend on the number of images in the batch
    """

    sample: Callable[[MaskSettings, int, np.random.Generator], Masks]
    check: Callable[[MaskSettings], None]
    help: str
    defaults: Mapping[str, Any] = field(default_factory=dict)
    derived: Callable[[float, bool], Mapping[str, Any]] = lambda context_ratio, every_hidden: {}
    unused: tuple[str, ...] = ()
    same_shapes: bool = False
    batch_dependent: bool = False


def make_masks(
    settings: MaskSettings, candidates: np.ndarray, order: np.ndarray, targets: np.ndarray, redrawn: int = 0
) -> Masks:
    """Masks with `context_length` of the candidates [B, N] as context, chosen by `order` [B, N]; targets [B, M, Nt]."""
    context = choose(candidates, order, settings.context_length)
    return Masks(torch.from_numpy(context), torch.from_numpy(targets), redrawn)


def choose(candidates: np.ndarray, order: np.ndarray, length: int) -> np.ndarray:
    """`length` of each row's candidates [n, N], chosen uniformly by `order` [n, N] in [0, 1), ascending."""
    chosen = np.argpartition(np.where(candidates, order, 2.0), length - 1, axis=1)[:, :length]
    return np.sort(chosen, axis=1).astype(np.int64)


def block_ids(corners: np.ndarray, shape: tuple[int, int], columns: int) -> np.ndarray:
    """Patch ids [..., rows * columns of the shape] of blocks at corners [..., 2] on a grid of so many columns."""
    inner = (np.arange(shape[0])[:, None] * columns + np.arange(shape[1])).ravel()
    return (corners[..., 0] * columns + corners[..., 1])[..., None] + inner


def check_room(settings: MaskSettings, longest: int) -> None:
    """Raise ValueError if the targets leave a context of at most `longest` patches and the settings ask for more."""
    asked, patches = settings.context_length, settings.num_patches
    if longest < 1:
        raise ValueError("the targets leave no context on this grid: lower num_targets or target_scale")
    if asked > longest:
        low, high = settings.target_scale
        raise ValueError(
            f"context_ratio {settings.context_ratio:g} asks for {asked} of {patches} patches, but "
            f"{settings.num_targets} targets of scale {low:g} to {high:g} leave room for {longest}: "
            f"the nearest is --context-ratio {int(1000 * longest / patches) / 1000:g}"
        )


def check_fixed(settings: MaskSettings, name: str, value: float) -> None:
    """Raise ValueError unless a setting has the one value that the strategy knows."""
    given = getattr(settings, name)
    if given != value:
        raise ValueError(f"{name} is {value:g} with {settings.strategy} masks, not {given:g}: leave it out")
