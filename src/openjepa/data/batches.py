"""The images, crops and masks of a step: a pure function of (seed, step), the same in every process."""

import functools
import signal
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from openjepa.data.crops import cut_size, oriented_crop
from openjepa.data.dataset import ImageDataset
from openjepa.data.decoding.jpeg_scaling import load_for_crop
from openjepa.errors import BadImage, UsageError
from openjepa.masking.samplers import sample_masks
from openjepa.masking.settings import Masks, MaskSettings
from openjepa.rng import CROPS, ORDER, generator


@dataclass
class Batch:
    """images uint8 or float32 [B, C, H, W]; masks of B * masks_per_image; indices int64 [B]; skipped [(path, reason)].

    `total` is the number of images of the step where these are only a part of it (0: they are all).
    """

    images: Tensor
    masks: Masks
    indices: Tensor
    skipped: list[tuple[str, str]] = field(default_factory=list)
    total: int = 0

    def pin_memory(self) -> "Batch":
        """The batch in page-locked memory, from which copies to a GPU do not block; a DataLoader calls this."""
        masks = Masks(self.masks.context_ids.pin_memory(), self.masks.target_ids.pin_memory(), self.masks.redrawn)
        return Batch(self.images.pin_memory(), masks, self.indices, self.skipped, self.total)

    def split(self, parts: int) -> "list[Batch]":
        """The batch in consecutive parts of nearly the same size, at most as many as it has images."""
        count, masks_per_image = len(self.images), len(self.masks.context_ids) // len(self.images)
        parts = min(parts, count)
        edges = [count * i // parts for i in range(parts + 1)]
        pieces = (
            (self.images[a:b], rows(self.masks, a * masks_per_image, b * masks_per_image), self.indices[a:b])
            for a, b in pairwise(edges)
        )
        return [Batch(*piece, total=self.total or count) for piece in pieces]


def rows(masks: Masks, first: int, end: int) -> Masks:
    """The masks of rows `first` to `end` - 1."""
    return Masks(masks.context_ids[first:end], masks.target_ids[first:end], masks.redrawn)


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
    """`batches[step]` is the batch of that step. A batch may span two epochs; all have `batch_size` images.

    With a `world_size` above one it is the part of `rank`: the slots of the global batch are divided evenly, in order.
    """

    dataset: ImageDataset
    masks: MaskSettings
    image_size: tuple[int, int]
    crop_scale: tuple[float, float]
    batch_size: int
    seed: int
    rank: int = 0
    world_size: int = 1
    any_orientation: bool = False
    horizontal_flip: bool = False

    def __getitem__(self, step: int) -> Batch:
        skipped: list[tuple[str, str]] = []
        first, end = (self.batch_size * rank // self.world_size for rank in (self.rank, self.rank + 1))
        drawn = [self._crop(step * self.batch_size + slot, skipped) for slot in range(first, end)]
        if None in drawn:
            return Batch(torch.empty(0), Masks(torch.empty(0), torch.empty(0)), torch.empty(0), skipped)
        indices, crops = zip(*drawn, strict=True)
        images = torch.from_numpy(np.stack([crop.transpose(2, 0, 1) for crop in crops]))
        masks_per_image = self.masks.masks_per_image
        masks = sample_masks(self.masks, self.batch_size * masks_per_image, self.seed, step)
        return Batch(
            images,
            rows(masks, first * masks_per_image, end * masks_per_image),
            torch.tensor(indices),
            skipped,
            self.batch_size,
        )

    def _crop(self, position: int, skipped: list[tuple[str, str]]) -> tuple[int, np.ndarray] | None:
        """The image at a position of the endless order, or the next readable one of its epoch, or None."""
        count = len(self.dataset)
        epoch, place = divmod(position, count)
        order = epoch_order(self.seed, count, epoch, self.dataset.window)
        for offset in range(count):
            index = int(order[(place + offset) % count])
            orientation = self._orientation(epoch, index)
            cut = cut_size(self.image_size, orientation)
            dice = functools.partial(generator, self.seed, CROPS, epoch, index)
            try:
                image = load_for_crop(self.dataset, index, cut, self.crop_scale, dice)
            except BadImage as error:
                skipped.append((self.dataset.paths[index], str(error)))
                continue
            return index, oriented_crop(image, self.image_size, self.crop_scale, dice(), orientation)
        return None

    def _orientation(self, epoch: int, index: int) -> int:
        """0 for as it is, to 7; 4 is mirrored, left to right."""
        if self.any_orientation:
            return int(generator(self.seed, CROPS, epoch, index, 1).integers(8))
        return 4 * int(generator(self.seed, CROPS, epoch, index, 1).integers(2)) if self.horizontal_flip else 0


def start_worker(_worker: int) -> None:
    # Ctrl-C is for the main process, which ends its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Pillow reuses up to 64 MB of image memory instead of asking the system for new pages.
    Image.core.set_blocks_max(4)


def in_order(dataset: Dataset, keys: Sequence[int], workers: int, pin_memory: bool = False) -> Iterator:
    """dataset[key] for every key, in order, prepared ahead by `workers` processes (0: by this one)."""
    with warnings.catch_warnings():
        # More workers than cores are slower at worst, and the user chose their number.
        warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
        loader = DataLoader(
            dataset,
            sampler=keys,
            batch_size=None,
            num_workers=workers,
            worker_init_fn=start_worker,
            pin_memory=pin_memory,
        )
        return iter(loader)


def load_batches(batches: Batches, start: int, stop: int, workers: int) -> Iterator[Batch]:
    """The batches of steps start to stop - 1; raises UsageError once no image can be read any more."""
    for batch in in_order(batches, range(start, stop), workers, pin_memory=torch.cuda.is_available()):
        if not len(batch.images):
            raise UsageError(f"none of the {len(batches.dataset):,} images of {batches.dataset.source} can be read")
        yield batch
