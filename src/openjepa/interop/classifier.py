"""A head as a folder that transformers.AutoModelForImageClassification opens: an encoder and a linear head.

A head tells classes, or quantities such as counts. The folder remembers the images that it was trained on, as hashes of
what the encoder sees of them.
"""

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from openjepa.data.decoding.pixel_format import PixelFormat
from openjepa.encoder.encoder import Encoder
from openjepa.encoder.features import frame_of
from openjepa.errors import UsageError
from openjepa.files import atomic_folder, usage_error, write_json
from openjepa.interop.artifact import FACTS, build_encoder, encoder_state, hf_config, hf_preprocessor, readable
from openjepa.interop.head_tests import HeadTest
from openjepa.interop.weights.files import read_safetensors, save_tensors
from openjepa.interop.weights.match import matched
from openjepa.interop.weights.shapes import EncoderShape, Origin, Preprocessing
from openjepa.interop.weights.tensor_names import from_hf
from openjepa.safety.schema import Json, Name, checked, read_json

ENCODER, HEAD = "ijepa.", "classifier."
TRAINED_ON = "trained_on.safetensors"
AGAIN = "write it again with --save-head"
MOST_FACTS, MOST_CLASSES = 2**24, 100_000


class Facts(Preprocessing):
    """What of openjepa.json decides how a classifier is read."""

    classifier: EncoderShape
    classes: Annotated[tuple[Name, ...], Field(min_length=1, max_length=MOST_CLASSES)]
    quantities: bool = False
    test: tuple[HeadTest, ...] = ()
    source: Origin | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        self.check_channels(self.classifier.in_chans)
        return self

    @property
    def licence(self) -> str | None:
        return self.source.licence if self.source else None


class Classifier:
    """An encoder with a linear head on its embedding; a Model whose features are what the head says.

    Those are the probabilities of the `classes` or, with `quantities`, the numbers that these name. `trained_on` are
    the hashes of the training images, sorted, and `test` its results on the test images; empty where not known.
    """

    def __init__(
        self,
        encoder: Encoder,
        weight: Tensor,
        bias: Tensor,
        classes: list[str],
        name: str,
        quantities: bool = False,
        trained_on: np.ndarray | None = None,
        test: tuple[HeadTest, ...] = (),
    ) -> None:
        self.encoder, self.weight, self.bias, self.classes, self.name = encoder, weight, bias, classes, name
        self.quantities, self.trained_on = quantities, np.zeros(0, np.int64) if trained_on is None else trained_on
        self.test = test

    @property
    def pixel_format(self) -> PixelFormat:
        return self.encoder.pixel_format

    @property
    def image_size(self) -> tuple[int, int]:
        return self.encoder.image_size

    @property
    def max_stretch(self) -> float:
        return self.encoder.max_stretch

    def features(self, images: Tensor) -> Tensor:
        """Preprocessed images to probabilities, or numbers, [B, C] float32."""
        said = self.encoder.features(images) @ self.weight.T + self.bias
        return said if self.quantities else said.softmax(1)

    def answers(self, images: Tensor) -> Tensor:
        """`features` with a last column: 1 for images that the head was trained on, else 0."""
        known = torch.from_numpy(np.isin(image_hashes(images), self.trained_on)).float()
        return torch.cat([self.features(images), known[:, None]], dim=1)


def image_hashes(images: Tensor) -> np.ndarray:
    """A hash, int64 [B], of each preprocessed image [B, C, H, W]."""
    arrays = (np.ascontiguousarray(image) for image in images.numpy())
    digests = b"".join(hashlib.blake2b(array.tobytes(), digest_size=8).digest() for array in arrays)
    return np.frombuffer(digests, np.int64).copy()


def save_classifier(
    folder: Path,
    encoder: Encoder,
    weight: Tensor,
    bias: Tensor,
    classes: list[str],
    about: dict,
    trained_on: np.ndarray,
    quantities: bool = False,
) -> None:
    """Write a head: weight [C, D] and bias [C] on the mean patch token, classes or quantities [C] by name.

    `trained_on` [n] int64 are the hashes of the training images (`image_hashes`).

    `about` (JSON-able) is stored in openjepa.json, and with it the licence of the encoder. Raises UsageError if the
    folder cannot be written.
    """
    network = encoder.network
    tensors = {ENCODER + name: value for name, value in encoder_state(network).items()}
    tensors |= {HEAD + "weight": weight.contiguous(), HEAD + "bias": bias.contiguous()}
    config = hf_config(network) | {
        "architectures": ["IJepaForImageClassification"],
        "id2label": {str(number): name for number, name in enumerate(classes)},
        "label2id": {name: number for number, name in enumerate(classes)},
    }
    config |= {"problem_type": "regression"} if quantities else {}
    known: dict[str, Any] = {"max_stretch": encoder.max_stretch}
    known |= {"classifier": network.arguments(), "mean": encoder.mean, "std": encoder.std, "classes": classes}
    known |= {"pixel_format": asdict(encoder.pixel_format), "quantities": quantities}
    known |= {"source": {"name": encoder.name, "kind": "openjepa", "licence": encoder.licence}}
    processor = hf_preprocessor(frame_of(encoder), encoder.mean, encoder.std, encoder.pixel_format)
    with usage_error(folder), atomic_folder(folder) as part:
        save_tensors({name: value.cpu() for name, value in tensors.items()}, part / "model.safetensors")
        save_tensors({"hashes": torch.from_numpy(np.unique(trained_on))}, part / TRAINED_ON)
        write_json(part / "config.json", config)
        write_json(part / "preprocessor_config.json", processor)
        write_json(part / "openjepa.json", known | about)


def load_classifier(
    folder: Path, device: str | torch.device = "cpu", precision: torch.dtype = torch.float32
) -> Classifier:
    """The classifier in a folder that `save_classifier` wrote; raises UsageError if it is none, or damaged."""
    facts = _read(folder)
    path = folder / "model.safetensors"
    tensors = read_safetensors(path, AGAIN)
    head = nn.Linear(facts.classifier.embed_dim, len(facts.classes), device="meta")
    try:
        linear = matched(
            {name: tensors.pop(HEAD + name) for name in ("weight", "bias") if HEAD + name in tensors}, head
        )
    except ValueError as error:
        raise UsageError(f"{path} is damaged: its head does not fit the classes: {error}: {AGAIN}") from error
    state = from_hf({name.removeprefix(ENCODER): value for name, value in tensors.items()})
    network = build_encoder(state, facts.classifier, str(path), AGAIN)
    how = device, precision, facts.pixel_format(network.in_chans), facts.max_stretch, facts.licence
    encoder = Encoder(network, list(facts.mean), list(facts.std), str(folder), *how)
    linear_head = linear["weight"], linear["bias"], list(facts.classes)
    known = _trained_on(folder / TRAINED_ON), facts.test
    return Classifier(encoder, *linear_head, str(folder), facts.quantities, *known)


def _trained_on(path: Path) -> np.ndarray:
    """The hashes of the training images; none in a folder that an older version wrote."""
    if not path.exists():
        return np.zeros(0, np.int64)
    hashes = read_safetensors(path, AGAIN).get("hashes", torch.zeros(0))
    if hashes.dtype != torch.int64 or hashes.ndim != 1:
        raise UsageError(f"{path} is damaged: it does not hold hashes of images: {AGAIN}")
    return hashes.numpy()


def _read(folder: Path) -> Facts:
    give = "give a folder that openjepa evaluate ... --save-head wrote"
    with readable(str(folder)):
        if not folder.exists():
            raise UsageError(f"{folder} does not exist: {give}")
        if not (folder / FACTS).is_file():
            raise UsageError(f"{folder} is no classifier: {give}")
    about = read_json(folder / FACTS, dict[str, Json], AGAIN, MOST_FACTS)
    if "classifier" not in about:
        raise UsageError(f"{folder} is an encoder without a head: {give}")
    return checked(Facts, about, str(folder / FACTS), AGAIN)
