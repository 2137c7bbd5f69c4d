"""Features once: every image of a data set through a model, in order, for all the probes."""

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from openjepa.data.batches import in_order
from openjepa.data.crops import resize_centre_crop
from openjepa.data.dataset import ImageDataset
from openjepa.errors import BadImage, UsageError


class Model(Protocol):
    """Anything that turns preprocessed uint8 images [B, 3, H, W] into features [B, D] float32."""

    name: str

    @property
    def image_size(self) -> tuple[int, int]: ...

    def features(self, images: Tensor) -> Tensor: ...


class Crops(Dataset):
    """Chunks of preprocessed images: (uint8 [b, 3, H, W], their indices, [(path, reason)] of those left out)."""

    def __init__(self, dataset: ImageDataset, image_size: tuple[int, int], batch_size: int) -> None:
        self.dataset, self.image_size, self.batch_size = dataset, image_size, batch_size

    def __len__(self) -> int:
        return -(-len(self.dataset) // self.batch_size)

    def __getitem__(self, chunk: int) -> tuple[Tensor, list[int], list[tuple[str, str]]]:
        images, kept, skipped = [np.empty((0, *self.image_size, 3), np.uint8)], [], []
        for index in range(chunk * self.batch_size, min(len(self.dataset), (chunk + 1) * self.batch_size)):
            try:
                images.append(resize_centre_crop(self.dataset.load(index), self.image_size)[None])
                kept.append(index)
            except BadImage as error:
                skipped.append((self.dataset.paths[index], str(error)))
        return torch.from_numpy(np.concatenate(images)).permute(0, 3, 1, 2), kept, skipped


def compute_features(
    model: Model,
    dataset: ImageDataset,
    workers: int = 2,
    batch_size: int = 256,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Tensor, np.ndarray, list[tuple[str, str]]]:
    """Features [n, D] float32, the indices [n] of the images they belong to, and the images left out with reasons."""
    crops = Crops(dataset, model.image_size, batch_size)
    features, kept, skipped = [], [], []
    for images, indices, bad in in_order(crops, range(len(crops)), workers):
        if len(images):
            features.append(model.features(images))
        kept += indices
        skipped += bad
        if progress:
            progress(len(kept) + len(skipped), len(dataset))
    if not features:
        raise UsageError(f"none of the {len(dataset):,} images of {dataset.source} can be read")
    return torch.cat(features), np.array(kept), skipped
