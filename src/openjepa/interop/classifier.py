"""A classifier as a folder that transformers.AutoModelForImageClassification opens: an encoder and a linear head."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from openjepa.data.decoding.pixel_format import PixelFormat
from openjepa.encoder.encoder import Encoder
from openjepa.encoder.features import frame_of
from openjepa.errors import UsageError
from openjepa.files import atomic_folder, usage_error, write_json
from openjepa.interop.artifact import FACTS, build_encoder, encoder_state, hf_config, hf_preprocessor, readable
from openjepa.interop.weights.files import read_safetensors, save_tensors
from openjepa.interop.weights.match import matched
from openjepa.interop.weights.shapes import EncoderShape, Origin, Preprocessing
from openjepa.interop.weights.tensor_names import from_hf
from openjepa.schema import Json, Name, checked, read_json

ENCODER, HEAD = "ijepa.", "classifier."
AGAIN = "write it again with --save-head"
MOST_FACTS, MOST_CLASSES = 2**24, 100_000


class Facts(Preprocessing):
    """What of openjepa.json decides how a classifier is read."""

    classifier: EncoderShape
    classes: Annotated[tuple[Name, ...], Field(min_length=1, max_length=MOST_CLASSES)]
    source: Origin | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        self.check_channels(self.classifier.in_chans)
        return self

    @property
    def licence(self) -> str | None:
        return self.source.licence if self.source else None


class Classifier:
    """An encoder with a linear head on its embedding; a Model whose features are the classes' probabilities."""

    def __init__(self, encoder: Encoder, weight: Tensor, bias: Tensor, classes: list[str], name: str) -> None:
        self.encoder, self.weight, self.bias, self.classes, self.name = encoder, weight, bias, classes, name

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
        """Preprocessed images to probabilities [B, C] float32."""
        return (self.encoder.features(images) @ self.weight.T + self.bias).softmax(1)


def save_classifier(
    folder: Path, encoder: Encoder, weight: Tensor, bias: Tensor, classes: list[str], about: dict
) -> None:
    """Write a classifier: weight [C, D] and bias [C] on the mean patch token, classes [C] by name.

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
    known: dict[str, Any] = {"max_stretch": encoder.max_stretch}
    known |= {"classifier": network.arguments(), "mean": encoder.mean, "std": encoder.std, "classes": classes}
    known |= {"pixel_format": asdict(encoder.pixel_format)}
    known |= {"source": {"name": encoder.name, "kind": "openjepa", "licence": encoder.licence}}
    processor = hf_preprocessor(frame_of(encoder), encoder.mean, encoder.std, encoder.pixel_format)
    with usage_error(folder), atomic_folder(folder) as part:
        save_tensors({name: value.cpu() for name, value in tensors.items()}, part / "model.safetensors")
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
    return Classifier(encoder, linear["weight"], linear["bias"], list(facts.classes), str(folder))


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
