"""A classifier as a folder that transformers.AutoModelForImageClassification opens: an encoder and a linear head."""

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from openjepa.data.decoding.pixel_format import PixelFormat, stored_pixel_format
from openjepa.encoder.encoder import Encoder
from openjepa.errors import UsageError
from openjepa.files import atomic_folder, usage_error, write_json
from openjepa.interop.artifact import build_encoder, encoder_state, hf_config, hf_preprocessor
from openjepa.interop.tensor_names import from_hf
from openjepa.interop.weight_files import save_tensors

ENCODER, HEAD = "ijepa.", "classifier."


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

    def features(self, images: Tensor) -> Tensor:
        """Preprocessed images to probabilities [B, C] float32."""
        return (self.encoder.features(images) @ self.weight.T + self.bias).softmax(1)


def save_classifier(
    folder: Path, encoder: Encoder, weight: Tensor, bias: Tensor, classes: list[str], about: dict
) -> None:
    """Write a classifier: weight [C, D] and bias [C] on the mean patch token, classes [C] by name.

    `about` (JSON-able) is stored in openjepa.json. Raises UsageError if the folder cannot be written.
    """
    network = encoder.network
    tensors = {ENCODER + name: value for name, value in encoder_state(network).items()}
    tensors |= {HEAD + "weight": weight.contiguous(), HEAD + "bias": bias.contiguous()}
    config = hf_config(network) | {
        "architectures": ["IJepaForImageClassification"],
        "id2label": {str(number): name for number, name in enumerate(classes)},
        "label2id": {name: number for number, name in enumerate(classes)},
    }
    known = {"classifier": network.arguments(), "mean": encoder.mean, "std": encoder.std, "classes": classes}
    known |= {"pixel_format": asdict(encoder.pixel_format)}
    processor = hf_preprocessor(encoder.image_size, encoder.mean, encoder.std, encoder.pixel_format)
    with usage_error(folder), atomic_folder(folder) as part:
        save_tensors({name: value.cpu() for name, value in tensors.items()}, part / "model.safetensors")
        write_json(part / "config.json", config)
        write_json(part / "preprocessor_config.json", processor)
        write_json(part / "openjepa.json", known | about)


def load_classifier(
    folder: Path, device: str | torch.device = "cpu", precision: torch.dtype = torch.float32
) -> Classifier:
    """The classifier in a folder that `save_classifier` wrote; raises UsageError if it is none, or damaged."""
    about = _read(folder)
    try:
        tensors = load_file(folder / "model.safetensors")
        weight, bias = (tensors.pop(HEAD + name) for name in ("weight", "bias"))
        state = from_hf({name.removeprefix(ENCODER): value for name, value in tensors.items()})
        network = build_encoder(state, about["classifier"])
        pixel_format = stored_pixel_format(about)
        encoder = Encoder(network, about["mean"], about["std"], str(folder), device, precision, pixel_format)
        if [*weight.shape, *bias.shape] != [len(about["classes"]), network.embed_dim, len(about["classes"])]:
            raise ValueError("the head does not fit the classes")
        return Classifier(encoder, weight, bias, about["classes"], str(folder))
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UsageError(f"{folder} is damaged ({reason}): write it again with --save-head") from error


def _read(folder: Path) -> dict:
    give = "give a folder that openjepa evaluate ... --save-head wrote"
    if not folder.exists():
        raise UsageError(f"{folder} does not exist: {give}")
    try:
        about = json.loads((folder / "openjepa.json").read_text())
    except (OSError, ValueError) as error:
        raise UsageError(f"{folder} is no classifier: {give}") from error
    if "classifier" not in about:
        raise UsageError(f"{folder} is an encoder without a head: {give}")
    return about
