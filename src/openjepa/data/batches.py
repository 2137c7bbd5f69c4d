"""Which images, crops and masks make up a step: a pure function of (seed, step), whoever computes it."""

import functools
import signal
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from openjepa.core.mask_settings import Masks, MaskSettings
from openjepa.core.masks import sample_masks
from openjepa.core.streams import CROPS, ORDER, generator
from openjepa.data.crops import oriented_crop
from openjepa.data.dataset import ImageDataset, window_of
from openjepa.errors import BadImage, UsageError


@dataclass
class Batch:
    """images uint8 or float32 [B, C, H, W]; masks of B * draws; indices int64 [B]; skipped [(path, reason)]."""

    images: Tensor
    masks: Masks
    indices: Tensor
    skipped: list[tuple[str, str]] = field(default_factory=list)


@functools.lru_cache(maxsize=2)
def epoch_order(seed: int, count: int, epoch: int, window: int = 0) -> np.ndarray:
    """The permutation [count] in which an epoch visits the images; window by window where they can only be streamed."""
    rng = generator(seed, ORDER, epoch)
    if not window:
        return rng.permutation(count)
    starts = range(0, count, window)
    return np.concatenate([start + rng.permutation(min(window, count - start)) for start in starts])


@dataclass(frozen=True)
class Batches(Dataset):
    """`batches[step]` is the batch of that step. Batches straddle epochs; none is short."""

    dataset: ImageDataset
    masks: MaskSettings
    image_size: tuple[int, int]
    crop_scale: tuple[float, float]
    batch_size: int
    seed: int
    any_orientation: bool = False

    def __getitem__(self, step: int) -> Batch:
        skipped: list[tuple[str, str]] = []
        slots = range(step * self.batch_size, (step + 1) * self.batch_size)
        drawn = [self._crop(position, skipped) for position in slots]
        if None in drawn:
            return Batch(torch.empty(0), Masks(torch.empty(0), torch.empty(0)), torch.empty(0), skipped)
        indices, crops = zip(*drawn, strict=True)
        images = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).contiguous()
        masks = sample_masks(self.masks, self.batch_size * self.masks.draws, self.seed, step)
        return Batch(images, masks, torch.tensor(indices), skipped)

    def _crop(self, position: int, skipped: list[tuple[str, str]]) -> tuple[int, np.ndarray] | None:
        """The image at a position of the endless order, or the next readable one of its epoch, or None."""
        count = len(self.dataset)
        epoch, place = divmod(position, count)
        order = epoch_order(self.seed, count, epoch, window_of(self.dataset))
        for offset in range(count):
            index = int(order[(place + offset) % count])
            try:
                image = self.dataset.load(index)
            except BadImage as error:
                skipped.append((self.dataset.paths[index], str(error)))
                continue
            rng = generator(self.seed, CROPS, epoch, index)
            orientation = int(generator(self.seed, CROPS, epoch, index, 1).integers(8)) if self.any_orientation else 0
            return index, oriented_crop(image, self.image_size, self.crop_scale, rng, orientation)
        return None


def ignore_interrupts(_worker: int) -> None:
    """Ctrl-C is for the main process, which ends its workers itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def in_order(dataset: Dataset, keys: Sequence[int], workers: int) -> Iterator:
    """dataset[key] for every key, in order, prepared ahead by `workers` processes (0: by this one)."""
    with warnings.catch_warnings():
        # More workers than cores is slower at worst, and the person chose their number.
        warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
        loader = DataLoader(
            dataset,
            sampler=keys,
            batch_size=None,
            num_workers=workers,
            worker_init_fn=ignore_interrupts,
        )
        return iter(loader)


def load_batches(batches: Batches, start: int, stop: int, workers: int) -> Iterator[Batch]:
    """The batches of steps start to stop - 1; raises UsageError once no image can be read any more."""
    for batch in in_order(batches, range(start, stop), workers):
        if not len(batch.images):
            raise UsageError(f"none of the {len(batches.dataset):,} images of {batches.dataset.source} can be read")
        yield batch
