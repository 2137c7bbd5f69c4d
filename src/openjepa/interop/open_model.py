"""What a user may name as a model: a run, an artifact, `pixels`, or `untrained:` with a name or another model."""

import torch

from openjepa.data.crops import Frame
from openjepa.encoder.baselines import Pixels
from openjepa.encoder.features import Model
from openjepa.interop.load import UNTRAINED, load_encoder, untrained_encoder


def open_model(
    name: str, device: torch.device, precision: torch.dtype, frame: Frame | None = None, pooling: str = "auto"
) -> Model:
    """The model of a name; `frame` is for names that do not state their own. Raises UsageError."""
    if name == "pixels":
        return Pixels()
    if name.startswith(UNTRAINED):
        return untrained_encoder(name, device, precision, frame)
    model = load_encoder(name, device, precision, pooling=pooling)
    model.name = name
    return model


def is_folder(name: str) -> bool:
    return name != "pixels" and not name.startswith(UNTRAINED)
