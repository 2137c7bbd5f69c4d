"""Mean and standard deviation of the channels."""

from collections.abc import Iterator

import numpy as np
from PIL import Image

from openjepa.data.dataset import ImageDataset, sample_order
from openjepa.data.decoding.pixel_format import Pixels
from openjepa.errors import BadImage, UsageError

SMALLEST_STD = 1e-3  # of 8-bit values as fractions of 255
CONSTANT = 1e-6  # std over mean, below which other values are taken to be all the same


def channel_statistics(dataset: ImageDataset, sample: int = 1000, seed: int = 0) -> tuple[list[float], list[float]]:
    """Mean and std of each channel over all pixels of a sample of images; 8-bit values as fractions of 255.

    The sample is drawn from `seed` (of what is streamed, the first images); unreadable ones are skipped.
    A std so small (images of one colour) that dividing by it makes no sense is raised: to 1e-3 where values have 8
    bits, else to the mean, or to 1. Raises UsageError if no image of the sample can be read.
    """
    images = _readable(dataset, sample, seed)
    try:
        first = next(images)
    except StopIteration:
        tried = min(sample, len(dataset))
        raise UsageError(f"no image in {dataset.source} can be decoded ({tried:,} tried)") from None
    if isinstance(first, np.ndarray) and first.dtype != np.uint8:
        return _of_numbers(first, images)
    return _of_bytes(first, images)


def _readable(dataset: ImageDataset, sample: int, seed: int) -> Iterator[Pixels]:
    for index in sample_order(dataset, np.random.default_rng(seed % 2**64))[:sample]:
        try:
            yield dataset.load(int(index))
        except BadImage:
            continue


def _of_bytes(first: Pixels, others: Iterator[Pixels]) -> tuple[list[float], list[float]]:
    counts = _histogram(first)  # pixels by channel and value
    for image in others:
        counts += _histogram(image)
    fraction = counts / counts.sum(axis=1, keepdims=True)
    values = np.arange(256) / 255
    mean = fraction @ values
    std = np.sqrt((fraction * (values - mean[:, None]) ** 2).sum(axis=1))
    return mean.tolist(), np.maximum(std, SMALLEST_STD).tolist()


def _histogram(image: Pixels) -> np.ndarray:
    if isinstance(image, Image.Image):
        return np.reshape(image.histogram(), (-1, 256)).astype(np.int64)
    return np.stack([np.bincount(image[..., band].ravel(), minlength=256) for band in range(image.shape[2])])


def _of_numbers(first: Pixels, others: Iterator[Pixels]) -> tuple[list[float], list[float]]:
    """Image by image, by the update of Chan, Golub and LeVeque (1979, "Updating formulae ...", equation 2.1)."""
    count, mean, squares = _moments(first)
    for image in others:
        more, theirs, added = _moments(image)
        gap = theirs - mean
        squares += added + gap**2 * (count * more / (count + more))
        mean += gap * (more / (count + more))
        count += more
    std = np.sqrt(squares / count)
    constant = std <= CONSTANT * np.abs(mean)
    return mean.tolist(), np.where(constant, np.where(mean == 0, 1, np.abs(mean)), std).tolist()


def _moments(image: Pixels) -> tuple[int, np.ndarray, np.ndarray]:
    """Pixels; and by channel the mean and the sum of squared deviations from it."""
    array = np.asarray(image)
    values = array.reshape(-1, array.shape[2]).astype(np.float64, order="C")  # sums are then of one order
    mean = values.mean(axis=0)
    return len(values), mean, ((values - mean) ** 2).sum(axis=0)
