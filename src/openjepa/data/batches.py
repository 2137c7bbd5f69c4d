"""The images, crops and masks of a step: a pure function of (seed, step), the same in every process."""

import functools
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
from openjepa.data.views import NUMBERS, chances_of, changed, small_scale
from openjepa.data.workers import workers_for
from openjepa.errors import BadImage, UsageError
from openjepa.masking.samplers import sample_masks
from openjepa.masking.settings import Masks, MaskSettings
from openjepa.rng import CROPS, ORDER, VIEWS, generator
from openjepa.safety.processes import sigterm_blocked, start_method, start_worker, worker_ended


@dataclass
class Batch:
    """Crops of B images, and their masks where the method needs any.

    views uint8 or float32 [V, B, C, H, W]: V crops of each image; masks of B * masks_per_image; indices int64 [B];
    small_views [L, B, C, h, w]: L smaller crops of each, where the method compares some with the others;
    skipped [(path, reason)]. `total` is the number of images of the step, where these are only a part of them (0: all).
    """

    views: Tensor
    masks: Masks | None
    indices: Tensor
    skipped: list[tuple[str, str]] = field(default_factory=list)
    total: int = 0
    small_views: Tensor | None = None

    @property
    def images(self) -> Tensor:
        """The first crop of each image, [B, C, H, W]."""
        return self.views[0]

    def pin_memory(self) -> "Batch":
        """The batch in page-locked memory, from which copies to a GPU do not block; a DataLoader calls this."""
        masks = self.masks
        if masks is not None:
            masks = Masks(masks.context_ids.pin_memory(), masks.target_ids.pin_memory(), masks.redrawn)
        small = None if self.small_views is None else self.small_views.pin_memory()
        return Batch(self.views.pin_memory(), masks, self.indices, self.skipped, self.total, small)

    def split(self, parts: int) -> "list[Batch]":
        """The batch in consecutive parts of nearly the same size, at most as many as it has images."""
        count = len(self.indices)
        parts = min(parts, count)
        edges = [count * i // parts for i in range(parts + 1)]
        return [self._part(a, b) for a, b in pairwise(edges)]

    def _part(self, first: int, end: int) -> "Batch":
        """Images `first` to `end` - 1."""
        count, small = len(self.indices), self.small_views
        masks, small = rows(self.masks, first, end, count), None if small is None else small[:, first:end]
        return Batch(self.views[:, first:end], masks, self.indices[first:end], [], self.total or count, small)


def rows(masks: Masks | None, first: int, end: int, count: int) -> Masks | None:
    """The masks of images `first` to `end` - 1 of `count`."""
    if masks is None:
        return None
    each = len(masks.context_ids) // count
    part = slice(first * each, end * each)
    return Masks(masks.context_ids[part], masks.target_ids[part], masks.redrawn)


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
    Each image is cropped `views` times, independently, and `small_views` times at `small_size`, to a smaller part of
    it. With `photometric` the colours of the crops change (data/views.py). `masks` is None for a method without masks.
    """

    dataset: ImageDataset
    masks: MaskSettings | None
    image_size: tuple[int, int]
    crop_scale: tuple[float, float]
    batch_size: int
    seed: int
    rank: int = 0
    world_size: int = 1
    any_orientation: bool = False
    horizontal_flip: bool = False
    views: int = 1
    small_views: int = 0
    small_size: tuple[int, int] = (0, 0)
    photometric: bool = False

    def __getitem__(self, step: int) -> Batch:
        skipped: list[tuple[str, str]] = []
        first, end = (self.batch_size * rank // self.world_size for rank in (self.rank, self.rank + 1))
        drawn = [self._crops(step * self.batch_size + slot, skipped) for slot in range(first, end)]
        readable = [image for image in drawn if image is not None]
        if len(readable) < len(drawn):
            return Batch(torch.empty(1, 0), None, torch.empty(0), skipped)
        places, crops = zip(*readable, strict=True)
        views = [self._view(number, places, view) for number, view in enumerate(zip(*crops, strict=True))]
        masks, indices = self._masks(step, first, end), torch.tensor([index for _, index in places])
        small = torch.stack(views[self.views :]) if self.small_views else None
        return Batch(torch.stack(views[: self.views]), masks, indices, skipped, self.batch_size, small)

    def pairs(self, indices: Sequence[int] | np.ndarray) -> Tensor:
        """The views of images that can be read, as in epoch 0: [V, n, C, H, W]."""
        places = [(0, int(index)) for index in indices]
        crops = zip(*([self._crop(*place, view) for view in range(self.views)] for place in places), strict=True)
        return torch.stack([self._view(number, places, view) for number, view in enumerate(crops)])

    def _view(self, number: int, places: Sequence[tuple[int, int]], crops: Sequence[np.ndarray]) -> Tensor:
        """One view of each image, [B, C, H, W]; `places` are (epoch, index)."""
        images = torch.from_numpy(np.stack([crop.transpose(2, 0, 1) for crop in crops]))
        if not self.photometric:
            return images
        drawn = [generator(self.seed, VIEWS, *place, number).random(NUMBERS, np.float32) for place in places]
        return changed(images, chances_of(number, number >= self.views), torch.from_numpy(np.stack(drawn)))

    def _masks(self, step: int, first: int, end: int) -> Masks | None:
        if self.masks is None:
            return None
        masks = sample_masks(self.masks, self.batch_size * self.masks.masks_per_image, self.seed, step)
        return rows(masks, first, end, self.batch_size)

    def _crops(self, position: int, skipped: list[tuple[str, str]]) -> tuple[tuple[int, int], list[np.ndarray]] | None:
        """(epoch, index) at a position of the endless order, or of the next readable image of its epoch, or None."""
        count = len(self.dataset)
        epoch, place = divmod(position, count)
        order = epoch_order(self.seed, count, epoch, self.dataset.window)
        for offset in range(count):
            index = int(order[(place + offset) % count])
            try:
                crops = [self._crop(epoch, index, view) for view in range(self.views + self.small_views)]
                return (epoch, index), crops
            except BadImage as error:
                skipped.append((self.dataset.paths[index], str(error)))
        return None

    def _crop(self, epoch: int, index: int, view: int) -> np.ndarray:
        """One crop of an image, a pure function of (seed, epoch, index, view)."""
        orientation = self._orientation(epoch, index, view)
        size, scale = self.image_size, self.crop_scale
        if view >= self.views:
            size, scale = self.small_size, small_scale(scale)
        dice = functools.partial(generator, self.seed, CROPS, epoch, index, 2 * view)
        image, box = load_for_crop(self.dataset, index, cut_size(size, orientation), scale, dice)
        return oriented_crop(image, size, box, orientation)

    def _orientation(self, epoch: int, index: int, view: int) -> int:
        """0 for as it is, to 7; 4 is mirrored, left to right."""
        if not (self.any_orientation or self.horizontal_flip):
            return 0
        dice = generator(self.seed, CROPS, epoch, index, 2 * view + 1)
        return int(dice.integers(8)) if self.any_orientation else 4 * int(dice.integers(2))


def start_reader(_worker: int) -> None:
    start_worker()
    # Pillow reuses up to 64 MB of image memory instead of asking the system for new pages.
    Image.core.set_blocks_max(4)


def in_order(dataset: Dataset, keys: Sequence[int], workers: int, pin_memory: bool = False) -> Iterator:
    """dataset[key] for every key, in order, prepared ahead by at most `workers` processes (0: by this one).

    Raises UsageError where a process has ended before its work was done.
    """
    workers = min(workers, len(keys))
    with warnings.catch_warnings():
        # More workers than cores are slower at worst, and the user chose their number.
        warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
        loader = DataLoader(
            dataset,
            sampler=keys,
            batch_size=None,
            num_workers=workers,
            worker_init_fn=start_reader,
            pin_memory=pin_memory,
            multiprocessing_context=start_method() if workers else None,
        )
    try:
        with sigterm_blocked():
            loaded = iter(loader)
        yield from loaded
    except RuntimeError as error:
        if str(error).startswith("DataLoader worker (pid"):
            raise worker_ended(error) from error
        raise


def load_batches(
    batches: Batches, start: int, stop: int, workers: int, device: torch.device | None = None
) -> Iterator[Batch]:
    """The batches of steps start to stop - 1, in page-locked memory where they will be copied to a CUDA `device`.

    Raises UsageError once no image can be read any more.
    """
    dataset, pinned = batches.dataset, device is not None and device.type == "cuda"
    for batch in in_order(batches, range(start, stop), workers_for(dataset, workers), pinned):
        if not len(batch.indices):
            raise UsageError(f"none of the {len(dataset):,} images of {dataset.source} can be read")
        yield batch
