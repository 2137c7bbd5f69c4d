"""One model on one pair of image sets: what the tasks read, each thing computed once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from openjepa.data.crops import size_of
from openjepa.data.dataset import UNLABELLED, ImageDataset
from openjepa.data.summary import counted
from openjepa.device import where_exact
from openjepa.encoder.baselines import PatchPixels
from openjepa.encoder.encoder import Encoder
from openjepa.encoder.feature_cache import FeatureStore, model_hash
from openjepa.encoder.features import Model, Progress, frame_of, no_progress
from openjepa.encoder.foreign import is_own
from openjepa.errors import UsageError
from openjepa.evaluation.annotations.targets import Maps, Targets
from openjepa.evaluation.probes.best_linear import ALL_PROBES, Choice, Features, Probes, best_linear
from openjepa.evaluation.probes.dense import Dense, crop_maps
from openjepa.evaluation.results import Result, mean_of
from openjepa.evaluation.splits import aligned_labels
from openjepa.models.protocol import HasLayers
from openjepa.rng import SAMPLES, generator

TOKEN_BYTES = 4 * 2**30  # of patch tokens on disk; more images than fit are left out, at random
TEST_IMAGES = 2000  # that tasks on patch tokens and on corrupted images measure
TEST_STREAM, TRAIN_STREAM = 100, 101  # of the random numbers that choose images


@dataclass(frozen=True)
class Part:
    """Images with what is known of them besides their class."""

    dataset: ImageDataset
    targets: Targets = field(default_factory=Targets)


@dataclass(frozen=True)
class Answers:
    """What probes learn to tell, the classes of a label or of a quantity, of the images of which it is known.

    key     by which a fitted probe is kept: the kind (label or quantity) and the name, because a label can be called
            as a task is
    names   of the classes
    train   features of the training images, which have the classes `labels` [n] int64
    test    features of the test images, which have the classes `truth` [m]; -1 for what no training image shows
    train_rows, test_rows  the indices of these images in their data sets, int64 [n] and [m]
    """

    key: tuple[str, str]
    names: Sequence[str]
    train: Features
    labels: Tensor
    test: Features
    truth: Tensor
    train_rows: np.ndarray
    test_rows: np.ndarray

    @property
    def name(self) -> str:
        return self.key[1]

    def result(self, task: str, correct: Tensor, protocol: dict[str, Any], draws: Sequence[float] = ()) -> Result:
        """The accuracy on the test images, by scores [m], beside that of always saying the commonest class."""
        found = Result(task, "accuracy", mean_of(correct), protocol, draws=draws)
        return found.beside(mean_of(self.commonest), self.commonest_answer)

    @property
    def commonest(self) -> np.ndarray:
        """Float64 [m]: 1 where the commonest of the training classes is the right one."""
        return (self.truth == self.labels.mode().values).double().numpy()

    @property
    def commonest_answer(self) -> str:
        return f"always {self.names[int(self.labels.mode().values)]}, the commonest class"

    @property
    def embeddings(self) -> tuple[Tensor, Tensor]:
        """Embeddings [n, D] of the training and [m, D] of the test images."""
        return self.train.last, self.test.last


@dataclass
class Session:
    """What an evaluation task gets.

    model    whose features are measured
    train    images that probes learn from
    test     images that results are of
    store    computes features, or finds those that were stored
    seed     of the rows that probes are chosen on and of the draws of few labels
    shots    for few labels: images a class ("10") or a fraction of them ("1%")
    epochs   of fine-tuning
    patches  image size (rows, columns), patch size and max_stretch of the raw pixels to compare with patch tokens
    probes   which linear probes are tried for `linear`
    unmeasured  labels of the images that are left out
    """

    model: Model
    train: Part
    test: Part
    store: FeatureStore
    seed: int = 0
    shots: tuple[str, ...] = ("1%", "10%", "10")
    epochs: float = 10
    patches: tuple[tuple[int, int], int, float] = ((32, 32), 4, 0.0)
    probes: Probes = ALL_PROBES
    unmeasured: frozenset[str] = frozenset()
    _features: dict[int, tuple[Features, np.ndarray]] = field(default_factory=dict)
    _choices: dict[tuple[str, str], Choice] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        return self.model.device if isinstance(self.model, Encoder) else torch.device("cpu")

    @property
    def probe_device(self) -> torch.device:
        return where_exact(self.device)

    def about(self) -> dict[str, str]:
        """What joins the protocol of every number: the model's weights by their hash, and how it computes."""
        rows, columns = self.model.image_size
        precision = self.model.precision if isinstance(self.model, Encoder) else torch.float32
        known = {"model_hash": model_hash(self.model)[:12], "image_size": f"{rows}x{columns}"}
        return known | {"device": str(self.device), "precision": str(precision).removeprefix("torch.")}

    def features(self, part: Part, progress: Progress = no_progress) -> tuple[Features, np.ndarray]:
        """Features of all readable images of a part, and their indices [n]."""
        if id(part) not in self._features:
            self._features[id(part)] = self.features_of(part.dataset, progress)
        return self._features[id(part)]

    def features_of(self, dataset: ImageDataset, progress: Progress = no_progress) -> tuple[Features, np.ndarray]:
        """The same of any images."""
        if not (is_own(self.model) and isinstance(self.model.network, HasLayers) and self.probes.layers):
            last, kept = self.store.get(self.model, dataset, "embedding", progress)
            return Features(last), kept
        layers, kept = self.store.get(self.model, dataset, "layers", progress)
        return Features(layers[:, -self.model.network.embed_dim :], layers), kept

    def embeddings(self) -> tuple[Tensor, Tensor]:
        """Embeddings [n, D] of the training and [m, D] of the test images."""
        return self.features(self.train)[0].last, self.features(self.test)[0].last

    def labels(self) -> Iterator[Answers]:
        """Each label that both parts have, with the images that have features and the label."""
        like, kept = self.train.dataset, self.features(self.train)[1]
        known = aligned_labels(like, like, kept)
        for label, truth in aligned_labels(self.test.dataset, like, self.features(self.test)[1]).items():
            if label in self.unmeasured:
                continue
            yield self.answers(("label", label), like.classes[label], known[label], truth)

    def answers(self, key: tuple[str, str], names: Sequence[str], labels: Tensor, truth: Tensor) -> Answers:
        """Classes [n] and [m] int64 of the images that have features; those that are UNLABELLED are left out.

        Raises UsageError where fewer than two training images or no test image is left.
        """
        (train, rows), (test, test_rows) = self.features(self.train), self.features(self.test)
        known, asked = labels != UNLABELLED, truth != UNLABELLED
        for part, there, least in ((self.train, known, 2), (self.test, asked, 1)):
            if there.sum() < least:
                raise UsageError(
                    f"{counted(int(there.sum()), 'image')} of {part.dataset.source} with a {key[1]} can be read, and "
                    f"{'learning' if least == 2 else 'testing'} needs {least} or more: give more"
                )
        parts = train.rows(known), labels[known], test.rows(asked), truth[asked]
        return Answers(key, names, *parts, rows[known.numpy()], test_rows[asked.numpy()])

    def linear(self, answers: Answers) -> Choice:
        """The best linear probe, fitted once for each key."""
        if answers.key not in self._choices:
            parts = answers.train, answers.labels, answers.test
            self._choices[answers.key] = best_linear(*parts, self.seed, self.device, self.probes)
        return self._choices[answers.key]

    def linear_result(self, task: str, answers: Answers) -> Result:
        """The accuracy of `linear(answers)` on the test images."""
        choice = self.linear(answers)
        protocol = {"seed": self.seed, **choice.protocol(), "train_images": sum(choice.rows)}
        return answers.result(task, choice.probe.predictions == answers.truth, protocol)

    def paths(self, part: Part) -> list[str]:
        """Paths of the images that have features."""
        return [part.dataset.paths[index] for index in self.features(part)[1]]

    def sample(self, part: Part) -> np.ndarray:
        """Indices of up to 2,000 images of a part at random, sorted; the same for every model."""
        return self._sample(part, TEST_IMAGES)

    def _sample(self, part: Part, most: int) -> np.ndarray:
        return np.sort(self._random_order(part)[:most])

    def _random_order(self, part: Part) -> np.ndarray:
        stream = TRAIN_STREAM if part is self.train else TEST_STREAM
        return generator(self.seed, SAMPLES, stream).permutation(len(part.dataset))

    @property
    def patch_model(self) -> Encoder | PatchPixels:
        """The model itself if it has patch tokens, else the pixels of patches."""
        return self.model if isinstance(self.model, Encoder | PatchPixels) else PatchPixels(*self.patches)

    def tokens(self, part: Part, progress: Progress = no_progress) -> tuple[Tensor, np.ndarray]:
        """Patch tokens [n, N, D] of as many images of a part as fit, and their indices [n] in it."""
        model = self.patch_model
        channels = (model.pixel_format or part.dataset.pixel_format).channels
        probe = model.tokens(torch.zeros(1, channels, *model.image_size, dtype=torch.uint8))
        fits = max(1, TOKEN_BYTES // (4 * probe.numel()))
        chosen = self._sample(part, fits if part is self.train else min(TEST_IMAGES, fits))
        whole = len(chosen) == len(part.dataset)
        dataset = part.dataset if whole else part.dataset.subset(chosen)
        tokens, kept = self.store.get(model, dataset, "tokens", progress)
        return tokens, chosen[kept]

    def dense_tokens(
        self, part: Part, kind: Literal["depth", "mask"], progress: Progress = no_progress
    ) -> tuple[ImageDataset, Tensor, np.ndarray]:
        """Up to 2,000 images with maps, the patch tokens of the readable ones, and their indices in the former."""
        known, paths = self.maps(part, kind).paths, part.dataset.paths
        chosen = [index for index in self._random_order(part) if paths[index] in known][:TEST_IMAGES]
        subset = part.dataset.subset(np.sort(chosen))
        return subset, *self.store.get(self.patch_model, subset, "tokens", progress)

    def maps(self, part: Part, kind: Literal["depth", "mask"]) -> Maps:
        """The maps of a part. Raises ValueError if there are none."""
        maps = part.targets.depth if kind == "depth" else part.targets.mask
        if maps is None:
            raise ValueError(f"{part.dataset.source} has no {kind} maps")
        return maps

    def dense(self, kind: Literal["depth", "mask"]) -> tuple[Dense, Dense]:
        """Patch tokens and maps of up to 2,000 images of the training and of the test part."""
        return self._dense(self.train, kind), self._dense(self.test, kind)

    def _dense(self, part: Part, kind: Literal["depth", "mask"]) -> Dense:
        model, (subset, tokens, kept) = self.patch_model, self.dense_tokens(part, kind)
        sizes = [size_of(subset.load(int(index))) for index in kept]
        maps = crop_maps(self.maps(part, kind), [subset.paths[index] for index in kept], sizes, frame_of(model))
        return Dense(tokens, maps, model.grid_size)
