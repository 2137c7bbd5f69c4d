"""What a user may name as a model: a run, an artifact, `pixels`, or `untrained:` with a name or another model."""

import re
from pathlib import Path

import torch

from openjepa.data.crops import Frame
from openjepa.encoder.baselines import Pixels, seeded, untrained_like
from openjepa.encoder.encoder import Encoder
from openjepa.encoder.features import Model
from openjepa.errors import UsageError
from openjepa.interop.artifact import find_artifact
from openjepa.interop.load import load_encoder
from openjepa.interop.weights.shapes import encoder_arguments
from openjepa.models.vit import SIZES

GREY = [0.5, 0.5, 0.5]
SMALL, USUAL = Frame((32, 32)), Frame((224, 224))


def open_model(
    name: str, device: torch.device, precision: torch.dtype, frame: Frame | None = None, pooling: str = "auto"
) -> Model:
    """The model of a name; `frame` is for names that do not state their own. Raises UsageError.

    Without any, patches of 14 or 16 px are taken to be of images of 224 px, and smaller ones of 32 px.
    """
    if name == "pixels":
        return Pixels()
    if name.startswith("untrained:"):
        model = _untrained(name.removeprefix("untrained:"), device, precision, frame)
    else:
        model = load_encoder(name, device, precision, pooling=pooling)
    model.name = name
    return model


def is_folder(name: str) -> bool:
    return name != "pixels" and not name.startswith("untrained:")


def _untrained(shape: str, device: torch.device, precision: torch.dtype, frame: Frame | None) -> Encoder:
    """From vit_nano, vit_small_patch16, vit_small_patch16_224, or a run or artifact of that shape."""
    match = re.fullmatch(r"(vit_[a-z]+)(?:_patch([0-9]{1,9}))?(?:_([0-9]{1,9}))?", shape)
    if match and match[1] in SIZES:
        embed_dim, depth, num_heads, mlp_ratio = SIZES[match[1]]
        patch_size = int(match[2] or 4)
        named = Frame((int(match[3]),) * 2) if match[3] else None
        size, max_stretch, *_ = named or frame or (USUAL if patch_size > 8 else SMALL)
        if patch_size and any(side % patch_size for side in size):
            raise UsageError(
                f"untrained:{shape} has patches that do not divide {size[0]} px: name its size, as {shape}_224"
            )
        sizes = {"in_chans": 3, "embed_dim": embed_dim, "depth": depth, "num_heads": num_heads, "mlp_ratio": mlp_ratio}
        arguments = encoder_arguments({"image_size": size, "patch_size": patch_size, **sizes}, f"untrained:{shape}")
        return Encoder(seeded(0, **arguments), GREY, GREY, shape, device, precision, max_stretch=max_stretch)
    if match and not Path(shape).exists():
        raise UsageError(f"untrained:{shape} is not known: known are {', '.join(SIZES)}, a run or an artifact")
    return untrained_like(load_encoder(find_artifact(Path(shape)), device, precision))
