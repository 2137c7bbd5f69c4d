"""k-NN and linear probe during training, where labels exist: they choose nothing but the best checkpoint's name."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from openjepa.data.crops import resize_centre_crop
from openjepa.data.dataset import ImageDataset, sample_order
from openjepa.encoder.baselines import Pixels
from openjepa.encoder.encoder import Encoder
from openjepa.errors import BadImage
from openjepa.evaluation.probes.knn import knn_predict
from openjepa.evaluation.probes.logistic import linear_probe
from openjepa.models.vit import VisionTransformer
from openjepa.rng import SAMPLES, generator

BANK, QUERIES = 1024, 512
LEAST = 12  # images, below which there is nothing to learn from and ask


def sample_images(
    dataset: ImageDataset, image_size: tuple[int, int], count: int, seed: int
) -> tuple[Tensor, np.ndarray]:
    """Up to `count` readable images, the same for a seed: [n, C, H, W], uint8 or float32, and their indices [n]."""
    images, kept = [], []
    for index in sample_order(dataset, generator(seed, SAMPLES)):
        try:
            images.append(resize_centre_crop(dataset.load(int(index)), image_size))
        except BadImage:
            continue
        kept.append(int(index))
        if len(kept) == count:
            break
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous(), np.array(kept)


class OnlineProbe:
    """Accuracy on a small fixed sample: the first label of `dataset`, up to 1,024 images to learn from, 512 to ask."""

    def __init__(
        self,
        dataset: ImageDataset,
        image_size: tuple[int, int],
        seed: int,
        wrap: Callable[[VisionTransformer], Encoder],
        baseline: Pixels | None = None,
    ) -> None:
        self.label = next(iter(dataset.labels))
        self.images, indices = sample_images(dataset, image_size, BANK + QUERIES, seed)
        self.targets = torch.from_numpy(dataset.labels[self.label][indices])
        self.bank = len(indices) * 2 // 3
        self.wrap, self.baseline = wrap, baseline or Pixels(image_size)
        self.dataset, self.seed = dataset, seed

    def __call__(self, network: VisionTransformer) -> dict[str, float]:
        """knn and linear: the fraction of queries answered right from the network's embeddings."""
        encoder = self.wrap(network)
        return self.scores(torch.cat([encoder.features(part) for part in self.images.split(256)]))

    def pixels(self) -> dict[str, float]:
        """The same from raw pixels."""
        images, _ = sample_images(self.dataset, self.baseline.image_size, BANK + QUERIES, self.seed)
        scores = self.scores(self.baseline.features(images))
        return {f"{name}_pixels": value for name, value in scores.items()}

    def scores(self, features: Tensor) -> dict[str, float]:
        fit = self.bank * 4 // 5
        (x, y), (test_x, test_y) = (
            (features[part], self.targets[part]) for part in (slice(self.bank), slice(self.bank, None))
        )
        linear = linear_probe(x[:fit], y[:fit], x[fit:], y[fit:], test_x).predictions
        knn = knn_predict(x, y, test_x)
        return {"knn": float((knn == test_y).float().mean()), "linear": float((linear == test_y).float().mean())}
