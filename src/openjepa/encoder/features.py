"""The features of a data set: every image through a model, in order."""

from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from openjepa.data.batches import in_order
from openjepa.data.crops import Frame, resize_centre_crop
from openjepa.data.dataset import ImageDataset, read_as
from openjepa.data.decoding.pixel_format import PixelFormat
from openjepa.data.workers import workers_for
from openjepa.errors import BadImage, UsageError

Progress = Callable[[int, int], None]  # (images done, images in all)
Skipped = list[tuple[str, str]]  # (path, reason)
Chunk = tuple[Tensor, list[int], Skipped]  # features [b, ...], the indices of their images, those left out
NOT_FINITE = "the model gives numbers for it that are not finite"


def no_progress(done: int, total: int) -> None:
    """For computations that nobody watches."""


class Model(Protocol):
    """Anything that turns preprocessed images [B, C, H, W] into features [B, D] float32.

    Images are uint8 or float32 as in `pixel_format`; where it is None, as in the data set. They are what `frame` shows
    of each.
    """

    name: str

    @property
    def image_size(self) -> tuple[int, int]: ...

    @property
    def frame(self) -> Frame: ...

    @property
    def pixel_format(self) -> PixelFormat | None: ...

    def features(self, images: Tensor) -> Tensor: ...


def frame_of(model: Model) -> Frame:
    """What a model sees of an image."""
    return model.frame


class Crops(Dataset):
    """Chunks of preprocessed images: ([b, C, H, W], their indices, [(path, reason)] of those left out)."""

    def __init__(self, dataset: ImageDataset, frame: Frame, batch_size: int) -> None:
        self.dataset, self.frame, self.batch_size = dataset, frame, batch_size

    def __len__(self) -> int:
        return -(-len(self.dataset) // self.batch_size)

    def __getitem__(self, chunk: int) -> tuple[Tensor, list[int], Skipped]:
        pixel_format = self.dataset.pixel_format
        images, kept, skipped = [np.empty((0, *self.frame.size, pixel_format.channels), pixel_format.dtype)], [], []
        for index in range(chunk * self.batch_size, min(len(self.dataset), (chunk + 1) * self.batch_size)):
            try:
                images.append(resize_centre_crop(self.dataset.load(index), *self.frame)[None])
                kept.append(index)
            except BadImage as error:
                skipped.append((self.dataset.paths[index], str(error)))
        return torch.from_numpy(np.concatenate(images)).permute(0, 3, 1, 2), kept, skipped


def read_by(model: Model, dataset: ImageDataset) -> ImageDataset:
    """The images as a model reads them; raises UsageError where it cannot."""
    return read_as(dataset, model.pixel_format or dataset.pixel_format)


def stream_features(
    features: Callable[[Tensor], Tensor],
    frame: Frame,
    dataset: ImageDataset,
    workers: int = 2,
    batch_size: int = 256,
    progress: Progress = no_progress,
    part: tuple[int, int] = (0, 1),
) -> Iterator[Chunk]:
    """Chunk by chunk: features [b, ...], the indices [b] of their images, and the images left out with reasons.

    `part` (k, n) is the k-th of n parts; chunks are the same for any n, and so the features to the last bit.
    """
    crops, seen = Crops(dataset, frame, batch_size), 0
    chunks = range(*(len(crops) * edge // part[1] for edge in (part[0], part[0] + 1)))
    total = min(len(chunks) * batch_size, len(dataset))
    for images, indices, bad in in_order(crops, chunks, workers_for(dataset, workers)):
        seen += len(indices) + len(bad)
        yield features(images) if len(images) else torch.empty(0), indices, bad
        progress(seen, total)


def only_finite(chunks: Iterable[Chunk], model: Model, dataset: ImageDataset) -> Iterator[Chunk]:
    """Chunks of features without rows that are not finite, whose images are left out with that reason.

    Raises UsageError where that are all images of a chunk, as with damaged weights.
    """
    for features, indices, bad in chunks:
        if indices and not torch.stack(features.aminmax()).isfinite().all():
            finite = features.flatten(1).isfinite().all(dim=1).tolist()
            if not any(finite):
                raise UsageError(f"{model.name} gives numbers that are not finite: its weights are damaged")
            left_out = [(dataset.paths[i], NOT_FINITE) for i, good in zip(indices, finite, strict=True) if not good]
            features, bad = features[torch.tensor(finite)], [*bad, *left_out]
            indices = [i for i, good in zip(indices, finite, strict=True) if good]
        yield features, indices, bad


def require_some(kept: Sized, dataset: ImageDataset) -> None:
    """Raise UsageError where no image of a data set could be read."""
    if not len(kept):
        raise UsageError(f"none of the {len(dataset):,} images of {dataset.source} can be read")


def compute_features(
    model: Model,
    dataset: ImageDataset,
    workers: int = 2,
    batch_size: int = 256,
    progress: Progress = no_progress,
    compute: Callable[[Tensor], Tensor] | None = None,
) -> tuple[Tensor, np.ndarray, Skipped]:
    """Features [n, D] float32, the indices [n] of the images they belong to, and the images left out with reasons.

    `compute` gives other features than `model.features`. Raises UsageError if no image can be read, or features of
    all are not finite.
    """
    dataset, compute = read_by(model, dataset), compute or model.features
    streamed = stream_features(compute, frame_of(model), dataset, workers, batch_size, progress)
    features = torch.empty(0)
    kept: list[int] = []
    skipped: Skipped = []
    for part, indices, bad in only_finite(streamed, model, dataset):
        if indices:
            # All in one block: small ones kept between the large ones of a chunk would hold on to the memory of these.
            features = features if kept else part.new_empty(len(dataset), *part.shape[1:])
            features[len(kept) : len(kept) + len(part)] = part
        kept += indices
        skipped += bad
    require_some(kept, dataset)
    return features if len(kept) == len(dataset) else features[: len(kept)].clone(), np.array(kept), skipped
