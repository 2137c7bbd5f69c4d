"""k-NN and a linear probe during training, where labels exist. They choose nothing but the best checkpoint."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from openjepa.data.crops import Frame, resize_centre_crop
from openjepa.data.dataset import UNLABELLED, ImageDataset, sample_order
from openjepa.data.memory import ImagesInMemory
from openjepa.encoder.baselines import Pixels
from openjepa.encoder.encoder import Encoder
from openjepa.encoder.feature_cache import FeatureStore
from openjepa.encoder.features import Model, frame_of, require_some
from openjepa.errors import BadImage
from openjepa.evaluation.probes.best_linear import Probes
from openjepa.evaluation.run_tasks import measure
from openjepa.evaluation.session import Part, Session
from openjepa.models.protocol import PatchEncoder
from openjepa.rng import SAMPLES, generator

TRAIN, TEST = 1024, 512
LEAST = 12  # images, below which no probe is trained


def sample_images(dataset: ImageDataset, frame: Frame, count: int, seed: int) -> tuple[Tensor, np.ndarray]:
    """Up to `count` readable images, the same for a seed: [n, C, H, W], uint8 or float32, and their indices [n].

    Raises UsageError where none can be read.
    """
    images, kept = [], []
    for index in sample_order(dataset, generator(seed, SAMPLES)):
        try:
            images.append(resize_centre_crop(dataset.load(int(index)), *frame))
        except BadImage:
            continue
        kept.append(int(index))
        if len(kept) == count:
            break
    require_some(kept, dataset)
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous(), np.array(kept)


def labelled(dataset: ImageDataset) -> ImageDataset:
    """The images that have the first label; the data set itself where all have it, or there are no labels."""
    values = next(iter(dataset.labels.values()), np.zeros(0))
    return dataset if (values != UNLABELLED).all() else dataset.subset(np.flatnonzero(values != UNLABELLED))


def in_order(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """The first four fifths of n rows to fit a probe on, and the rest to choose it on: samples are in random order."""
    fit, validation = torch.arange(n).tensor_split([n * 4 // 5])
    return fit, validation


PROBES = Probes(layers=False, batch_norms=(True,), split=in_order)
TASKS = ("knn", "linear")


class OnlineProbe:
    """Accuracy on a small fixed sample: for the first label, up to 1,024 images to learn from and 512 to test on.

    Images without that label are left out.

    Images are decoded once, cropped to `frame`, and held in memory. `wrap` makes an encoder of the network that
    is trained; `baseline` are the raw pixels to compare with.
    """

    def __init__(
        self,
        dataset: ImageDataset,
        frame: Frame,
        seed: int,
        wrap: Callable[[PatchEncoder], Encoder],
        baseline: Pixels | None = None,
    ) -> None:
        self.dataset, self.seed, self.wrap = labelled(dataset), seed, wrap
        self.baseline = baseline or Pixels()
        self.parts = self._sampled(frame)

    def __call__(self, network: PatchEncoder) -> dict[str, float]:
        """knn and linear: the fraction of test images classified right from the network's embeddings."""
        return self._accuracies(self.wrap(network), self.parts)

    def pixels(self) -> dict[str, float]:
        """The same from raw pixels, under names that end in _pixels."""
        scores = self._accuracies(self.baseline, self._sampled(frame_of(self.baseline)))
        return {f"{name}_pixels": value for name, value in scores.items()}

    @property
    def test_images(self) -> int:
        return len(self.parts[1].dataset)

    def _sampled(self, frame: Frame) -> tuple[Part, Part]:
        """Two thirds of the sample to learn from, and the rest, at a size."""
        images, indices = sample_images(self.dataset, frame, TRAIN + TEST, self.seed)
        label, n = next(iter(self.dataset.labels)), len(indices)
        pixels = images.permute(0, 2, 3, 1).reshape(-1).numpy()
        sample = ImagesInMemory(
            self.dataset.source,
            [self.dataset.paths[index] for index in indices],
            {label: self.dataset.labels[label][indices]},
            {label: self.dataset.classes[label]},
            pixels,
            np.arange(n) * images[0].numel(),
            np.full((n, 2), frame.size),
            self.dataset.pixel_format,
        )
        rows = np.split(np.arange(n), [n * 2 // 3])
        return Part(sample.subset(rows[0])), Part(sample.subset(rows[1]))

    def _accuracies(self, model: Model, parts: tuple[Part, Part]) -> dict[str, float]:
        results = measure(Session(model, *parts, FeatureStore(None, workers=0), probes=PROBES), TASKS)
        return {
            name: float(result.rows[:, 0].mean(dtype=np.float32)) for name, result in zip(TASKS, results, strict=True)
        }
