"""The encoder of a run whose network a program gave: its tensors, and what is needed to check the network to load them.

model.safetensors   the state_dict of the network
openjepa.json       its class and shapes, preprocessing, and how it was trained
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from openjepa.data.decoding.pixel_format import RGB, PixelFormat
from openjepa.encoder.encoder import Encoder
from openjepa.errors import UsageError
from openjepa.files import atomic_folder, write_json
from openjepa.interop.artifact import AGAIN, FACTS, OWN_MODEL, find_artifact
from openjepa.interop.weights.files import read_safetensors, save_tensors
from openjepa.interop.weights.shapes import Preprocessing
from openjepa.models.protocol import PatchEncoder, check_patch_encoder
from openjepa.safety.schema import Json, Name, Schema, checked, read_json


class OwnNetwork(Schema):
    name: Name
    shapes: Name

    @property
    def class_name(self) -> str:
        return self.name.partition(":")[2]


class OwnFacts(Preprocessing):
    """What of openjepa.json decides how its folder is read."""

    own_model: OwnNetwork


def save_own(
    folder: Path,
    network: PatchEncoder,
    mean: list[float],
    std: list[float],
    about: dict[str, Any],
    pixel_format: PixelFormat = RGB,
    max_stretch: float = 0.0,
) -> None:
    """Write the folder, whole or not at all; `about` has `own_model`, the class and shapes. Raises OSError."""
    how = {"mean": mean, "std": std, "pixel_format": asdict(pixel_format), "max_stretch": max_stretch}
    with atomic_folder(folder, replace=True) as part:
        save_tensors({name: t.clone() for name, t in network.state_dict().items()}, part / "model.safetensors")
        write_json(part / FACTS, {**about, **how})


def own_class(path: Path) -> str | None:
    """The name of the class of the network in the artifact that a path names; None where it is not of a program."""
    for folder in (path, path / "encoder"):
        if (folder / FACTS).is_file() and OWN_MODEL in read_json(folder / FACTS, dict[str, Json], AGAIN):
            return _facts(folder).own_model.class_name
    return None


def _facts(folder: Path) -> OwnFacts:
    return checked(OwnFacts, read_json(folder / FACTS, dict[str, Json], AGAIN), str(folder / FACTS), AGAIN)


def load_own(path: Path, network: Any, device: torch.device, precision: torch.dtype) -> Encoder:
    """The encoder of such a folder in a network of the same class, whose weights are replaced. Raises UsageError."""
    folder = find_artifact(path)
    facts = _facts(folder)
    name = facts.own_model.class_name
    try:
        if not isinstance(network, nn.Module):
            raise ValueError("it is no nn.Module")
        check_patch_encoder(network)
        facts.check_channels(network.in_chans)  # type: ignore[arg-type]
        network.load_state_dict(read_safetensors(folder / "model.safetensors", AGAIN))
    except UsageError:
        raise
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UsageError(f"{path} holds the weights of a {name}, which do not fit the model given: {reason}") from error
    pixel_format = facts.pixel_format(len(facts.mean))
    how = device, precision, pixel_format, facts.max_stretch
    return Encoder(network, list(facts.mean), list(facts.std), str(path), *how)  # type: ignore[arg-type]
