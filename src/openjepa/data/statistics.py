"""Mean and standard deviation of the colour channels."""

import numpy as np

from openjepa.data.dataset import ImageDataset, sample_order
from openjepa.errors import BadImage, UsageError

SMALLEST_STD = 1e-3


def channel_statistics(dataset: ImageDataset, sample: int = 1000, seed: int = 0) -> tuple[list[float], list[float]]:
    """Mean and std of red, green and blue over all pixels of a sample of images; values in [0, 1] units.

    The sample is drawn from `seed` (of what is streamed, the first images); unreadable ones are passed over.
    A std below 1e-3 (images of one colour) is given as 1e-3, so that dividing by it stays sane.
    Raises UsageError if no image of the sample can be read.
    """
    counts = np.zeros((3, 256), dtype=np.int64)  # pixels by channel and value
    for index in sample_order(dataset, np.random.default_rng(seed % 2**64))[:sample]:
        try:
            counts += np.reshape(dataset.load(int(index)).histogram(), (3, 256))
        except BadImage:
            continue
    if not counts.any():
        raise UsageError(f"no image in {dataset.source} can be decoded ({min(sample, len(dataset)):,} tried)")
    share = counts / counts.sum(axis=1, keepdims=True)
    values = np.arange(256) / 255
    mean = share @ values
    std = np.sqrt((share * (values - mean[:, None]) ** 2).sum(axis=1))
    return mean.tolist(), np.maximum(std, SMALLEST_STD).tolist()
