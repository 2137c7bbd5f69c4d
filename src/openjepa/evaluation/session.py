"""One model on one pair of image sets: what the tasks ask for, each thing computed once."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from openjepa.data.crops import size_of
from openjepa.data.dataset import ImageDataset
from openjepa.device import where_exact
from openjepa.encoder.baselines import PatchPixels
from openjepa.encoder.feature_cache import FeatureStore, model_hash
from openjepa.encoder.features import Model
from openjepa.evaluation.corruptions import CORRUPTIONS, STRENGTHS, Corrupted
from openjepa.evaluation.probes.best_linear import Choice, Features, best_linear
from openjepa.evaluation.probes.dense import Dense, crop_maps
from openjepa.evaluation.protocol import aligned_labels
from openjepa.evaluation.targets import Targets
from openjepa.evaluation.tasks.appearance import Appearance
from openjepa.rng import SAMPLES, generator

TOKEN_BYTES = 4 * 2**30  # of patch tokens on disk; more images than fit are left out, at random
TEST_IMAGES = 2000  # that tasks on patch tokens and on corrupted images ask


@dataclass(frozen=True)
class Part:
    """Images with what is known of them besides their class."""

    dataset: ImageDataset
    targets: Targets = field(default_factory=Targets)


@dataclass
class Bench:
    """`patches` is the image and patch size at which raw pixels stand beside an encoder's patch tokens."""

    model: Model
    train: Part
    test: Part
    store: FeatureStore
    seed: int = 0
    shots: tuple[str, ...] = ("1%", "10%", "10")
    epochs: float = 10
    patches: tuple[tuple[int, int], int] = ((32, 32), 4)
    progress: Callable[[int, int], None] | None = None
    _features: dict[int, tuple[Features, np.ndarray]] = field(default_factory=dict)
    _choices: dict[str, Choice] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        return getattr(self.model, "device", torch.device("cpu"))

    def about(self) -> dict[str, str]:
        """What joins the protocol of every number: the model's weights by their hash, and how it computes."""
        rows, columns = self.model.image_size
        precision = str(getattr(self.model, "precision", torch.float32)).removeprefix("torch.")
        known = {"model_hash": model_hash(self.model)[:12], "image_size": f"{rows}x{columns}"}
        return known | {"device": str(self.device), "precision": precision}

    @property
    def probe_device(self) -> torch.device:
        return where_exact(self.device)

    def features(self, part: Part) -> tuple[Features, np.ndarray]:
        """Features of all readable images of a part, and their indices [n]."""
        if id(part) not in self._features:
            self._features[id(part)] = self.features_of(part.dataset)
        return self._features[id(part)]

    def features_of(self, dataset: ImageDataset) -> tuple[Features, np.ndarray]:
        """The same of any images."""
        if not hasattr(self.model, "layer_features"):
            last, kept = self.store.get(self.model, dataset, "embedding", self.progress)
            return Features(last), kept
        layers, kept = self.store.get(self.model, dataset, "layers", self.progress)
        return Features(layers[:, -self.model.network.embed_dim :], layers), kept

    def labels(self) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Each label's name with the classes of the training and test images whose features there are."""
        kept = [self.features(part)[1] for part in (self.train, self.test)]
        train = aligned_labels(self.train.dataset, self.train.dataset, kept[0])
        test = aligned_labels(self.test.dataset, self.train.dataset, kept[1])
        for label, truth in test.items():
            yield label, train[label], truth

    def linear(self, name: str, labels: Tensor) -> Choice:
        """The best linear probe for labels [n] of the training images, under a name by which it is kept."""
        if name not in self._choices:
            train, test = self.features(self.train)[0], self.features(self.test)[0]
            self._choices[name] = best_linear(train, labels, test, self.seed, self.device)
        return self._choices[name]

    def paths(self, part: Part) -> list[str]:
        """Paths of the images whose features there are."""
        return [part.dataset.paths[index] for index in self.features(part)[1]]

    def some(self, part: Part, most: int, train: bool) -> np.ndarray:
        """Up to `most` images of a part at random, sorted; the same for every model where `most` is the same."""
        order = generator(self.seed, SAMPLES, 100 + train).permutation(len(part.dataset))
        return np.sort(order[:most])

    def asked(self, part: Part) -> np.ndarray:
        """Up to 2,000 images of a part."""
        return self.some(part, TEST_IMAGES, part is self.train)

    @property
    def patch_model(self) -> Model:
        """The model itself if it has patch tokens, else the pixels of patches."""
        return self.model if hasattr(self.model, "tokens") else PatchPixels(*self.patches)

    def tokens(self, part: Part) -> tuple[Tensor, np.ndarray]:
        """Patch tokens [n, N, D] of as many images as may be, and their indices [n] in the part."""
        model = self.patch_model
        channels = getattr(model, "pixel_format", part.dataset.pixel_format).channels
        probe = model.tokens(torch.zeros(1, channels, *model.image_size, dtype=torch.uint8))
        fits = max(1, TOKEN_BYTES // (4 * probe.numel()))
        chosen = self.some(part, fits if part is self.train else min(TEST_IMAGES, fits), part is self.train)
        whole = len(chosen) == len(part.dataset)
        tokens, kept = self.store.get(
            model, part.dataset if whole else part.dataset.subset(chosen), "tokens", self.progress
        )
        return tokens, chosen[kept]

    def dense_tokens(self, part: Part) -> tuple[ImageDataset, Tensor, np.ndarray]:
        """Up to 2,000 images of a part, the patch tokens of the readable ones, and their indices in the former."""
        subset = part.dataset.subset(self.asked(part))
        return subset, *self.store.get(self.patch_model, subset, "tokens", self.progress)

    def dense(self, part: Part, read: Callable[[str], np.ndarray]) -> Dense:
        """Patch tokens and maps of up to 2,000 images of a part."""
        model, (subset, tokens, kept) = self.patch_model, self.dense_tokens(part)
        grid = model.grid_size if isinstance(model, PatchPixels) else model.network.grid_size
        sizes = [size_of(subset.load(int(index))) for index in kept]
        maps = crop_maps(read, [subset.paths[index] for index in kept], sizes, model.image_size)
        return Dense(tokens, maps, grid)

    def asked_worse(self) -> Iterator[Corrupted]:
        """Up to 2,000 test images under every corruption, each in its five strengths from weak to strong."""
        clean = self.test.dataset.subset(self.asked(self.test))
        base = self.store.hash(clean)
        return (Corrupted(clean, name, strength, base) for name in CORRUPTIONS for strength in STRENGTHS)

    def looks(self, part: Part) -> tuple[Tensor, np.ndarray]:
        """What the images of a part look like [n, 7], and their indices [n]."""
        return self.store.get(Appearance(self.patches[0]), part.dataset, "embedding", self.progress)
