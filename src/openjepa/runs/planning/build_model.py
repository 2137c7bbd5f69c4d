"""The networks of a run: built from its settings, or from existing weights (`initial_weights`)."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from openjepa.config import Config
from openjepa.encoder.baselines import seeded
from openjepa.errors import UsageError
from openjepa.methods.base import Method
from openjepa.methods.distilled import Distilled, Teacher
from openjepa.methods.registry import METHODS
from openjepa.models.protocol import PatchEncoder
from openjepa.models.vit import SIZES
from openjepa.own import OWN, names_own
from openjepa.runs.planning.frozen_teacher import FrozenTeacher


@dataclass(frozen=True)
class Networks:
    """How the networks of a run are made: `build` gives fresh ones, the same at every call.

    frozen    fraction of the run in which the context encoder stays as it is (training.step.Stepper)
    imported  whether they start from trained weights
    width     embedding dimension of the encoder, where it is not that of the config's model
    teacher   the frozen target encoder, where there is one
    about     what config.json states of them
    """

    build: Callable[[], Method]
    frozen: float = 0.0
    imported: bool = False
    width: int | None = None
    teacher: FrozenTeacher | None = None
    about: Mapping[str, Any] = field(default_factory=dict)


def build_model(config: Config, channels: int = 3, teacher: Teacher | None = None) -> Method:
    """The method of a config with its networks, for images of so many channels, initialised by its seed alone.

    `teacher` is the frozen target encoder; a config with --teacher needs it (ValueError).
    """
    if names_own(config.model):
        name = config.model.partition(":")[2]
        raise UsageError(f"the run was trained with a model of the class {name} of a program: give it, as model=...")
    embed_dim, depth, num_heads, mlp_ratio = SIZES[config.model]
    encoder = seeded(
        config.seed,
        image_size=config.size,
        patch_size=config.patch_size,
        in_chans=channels,
        embed_dim=embed_dim,
        depth=depth,
        num_heads=num_heads,
        mlp_ratio=mlp_ratio,
        weight_init=config.weight_init,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed + 1)
        return method_of(config).build(encoder, **(dataclasses.asdict(config) | {"teacher": teacher}))


def build_around(config: Config, encoder: PatchEncoder) -> Method:
    """The method of a config around an encoder; whatever else it has is drawn by the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed + 1)
        return method_of(config).build(encoder, **dataclasses.asdict(config))


def method_of(config: Config) -> type[Method]:
    if config.teacher and config.method == "ijepa":
        return Distilled
    return OWN["method"][config.method] if names_own(config.method) else METHODS[config.method].load()
