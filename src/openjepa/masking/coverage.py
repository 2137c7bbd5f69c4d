"""What a mask setting does over many images: how often each patch is context and target, and the sizes that occur."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from openjepa.masking.samplers import STRATEGIES, sample_masks
from openjepa.masking.settings import Masks, MaskSettings


@dataclass
class Coverage:
    """Counts over `images` sampled masks.

    context, target   int64 [rows, columns]: images in which a patch is context, or in at least one target block
    both              patches, over all images, that were context and target at once
    context_lengths   batches by number of context patches
    target_sizes      batches by size of the target blocks: (rows, columns), or (patches,) if they are no rectangles
    redrawn           layouts drawn again because the context had too little room
    """

    images: int
    context: np.ndarray
    target: np.ndarray
    both: int = 0
    context_lengths: Counter[int] = field(default_factory=Counter)
    target_sizes: Counter[tuple[int, ...]] = field(default_factory=Counter)
    redrawn: int = 0

    @property
    def target_fraction(self) -> float:
        """Mean fraction of an image that is target, in [0, 1]."""
        return float(self.target.mean()) / self.images

    @property
    def fractions(self) -> dict[str, np.ndarray]:
        """Fraction of the images in which each patch is "context" or "target": float64 [rows, columns] in [0, 1]."""
        return {"context": self.context / self.images, "target": self.target / self.images}


def cover(settings: MaskSettings, batch_size: int, seed: int, images: int = 4096) -> Coverage:
    """Count over the first steps of a run with this seed, for `images` images or 16 steps, whichever is more.

    Strategies that do not depend on `batch_size` are sampled 64 images a step, to see more shapes.
    """
    size = batch_size if STRATEGIES[settings.strategy].batch_dependent else min(64, images)
    batches = max(16, images // size)
    coverage = Coverage(batches * size, *np.zeros((2, *settings.grid_size), np.int64))
    for step in range(batches):
        masks = sample_masks(settings, size, seed, step)
        context = members(masks.context_ids.numpy(), settings.num_patches)
        target = members(masks.target_ids.flatten(1).numpy(), settings.num_patches)
        coverage.context += context.sum(0).reshape(settings.grid_size)
        coverage.target += target.sum(0).reshape(settings.grid_size)
        coverage.both += int((context & target).sum())
        coverage.context_lengths[masks.context_ids.shape[1]] += 1
        coverage.target_sizes[_block_size(masks.target_ids[0, 0].numpy(), settings.grid_size[1])] += 1
        coverage.redrawn += masks.redrawn
    return coverage


def in_words(settings: MaskSettings, coverage: Coverage) -> list[tuple[str, str]]:
    """The coverage as rows of a table: names and values."""
    patches, fractions = settings.num_patches, coverage.fractions
    never = {name: int((fraction == 0).sum()) for name, fraction in fractions.items()}
    lengths = sorted({min(coverage.context_lengths), max(coverage.context_lengths)})
    context = f"{' to '.join(map(str, lengths))} of {patches} patches ({_range([n / patches for n in lengths])})"
    if STRATEGIES[settings.strategy].batch_dependent:
        context += f", as many as the shortest of {coverage.images // coverage.target_sizes.total():,} images has"
    both = f"{coverage.both / coverage.images:.2f} patches an image are context and target at once"
    return [
        ("context", context),
        ("targets", f"{settings.num_targets} an image, together {percent(coverage.target_fraction)} of it on average"),
        ("shapes", _sizes(coverage.target_sizes)),
        ("overlap", both if coverage.both else "none: no patch is context and target at once"),
        ("as context", f"each patch in {_range(fractions['context'])} of the images"),
        ("as target", f"each patch in {_range(fractions['target'])} of the images"),
        ("never used", f"{never['context']} patches as context, {never['target']} as target"),
        ("redrawn", f"{coverage.redrawn:,} layouts"),
    ]


def percent(fraction: float) -> str:
    """A fraction in percent, with a decimal where it is small."""
    return f"{100 * fraction:.0f} %" if fraction >= 0.1 or fraction == 0 else f"{100 * fraction:.2g} %"


def _range(fractions: Sequence[float] | np.ndarray) -> str:
    return " to ".join(dict.fromkeys((percent(np.min(fractions)), percent(np.max(fractions)))))


def _sizes(counts: Counter[tuple[int, ...]], most: int = 6) -> str:
    total = counts.total()
    shown = [f"{_size(size)} ({percent(n / total)})" for size, n in counts.most_common(most)]
    return ", ".join(shown) + ", ..." * (len(counts) > most)


def _size(size: tuple[int, ...]) -> str:
    return "x".join(map(str, size)) if len(size) > 1 else f"{size[0]} scattered patches"


def members(ids: np.ndarray, patches: int) -> np.ndarray:
    """Patch ids [B, n] as membership [B, patches], bool."""
    inside = np.zeros((len(ids), patches), bool)
    np.put_along_axis(inside, ids, True, axis=1)
    return inside


def first_masks(settings: MaskSettings, count: int, batch_size: int, seed: int) -> list[Masks]:
    """The masks of the first image of each of the first `count` steps: context_ids [Nc] and target_ids [M, Nt]."""
    drawn = [sample_masks(settings, batch_size, seed, step) for step in range(count)]
    return [Masks(masks.context_ids[0], masks.target_ids[0], masks.redrawn) for masks in drawn]


def _block_size(ids: np.ndarray, columns: int) -> tuple[int, ...]:
    sides = len(np.unique(ids // columns)), len(np.unique(ids % columns))
    return sides if sides[0] * sides[1] == len(ids) else (len(ids),)
