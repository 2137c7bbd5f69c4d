"""A network of another library, to train further."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from openjepa.errors import UsageError
from openjepa.interop.foreign import trainable_timm, trainable_transformers
from openjepa.interop.foreign.artifact import StoredForeign
from openjepa.interop.foreign.open import open_foreign
from openjepa.interop.foreign.patch_encoder import ForeignPatchEncoder
from openjepa.interop.foreign.source import ForeignSource
from openjepa.interop.foreign.trainable_timm import TimmPatchEncoder, is_timm_vit
from openjepa.interop.foreign.trainable_transformers import TYPES, TransformersPatchEncoder, is_transformers_vit

COMPARED = 1e-4  # largest difference, beside the size of tokens, of two networks that are taken to be the same


def open_trainable(name: str | Path, image_size: tuple[int, int] | None = None) -> ForeignPatchEncoder:
    """The vision transformer of a name or folder, to train further: `openjepa.pretrain(images, model=...)`.

    `image_size` (rows, columns) is that of the training, if not the model's own. Raises UsageError for a model of which
    subsets of patches cannot be read.
    """
    source = open_foreign(str(name))
    if source is None:
        raise UsageError(f"{name} is opened by --init: open_trainable is for networks that stay another library's")
    return trainable(source, image_size)


def trainable(source: ForeignSource, image_size: tuple[int, int] | None = None) -> ForeignPatchEncoder:
    """The network of a source, to train further at an image size (rows, columns) or its own. Raises UsageError."""
    network, patch = source.network, source.network.patch_size
    if image_size and any(side % patch for side in image_size):
        raise UsageError(f"{source.name} has patches of {patch} px: give an image size that is a multiple of that")
    source = source.at_size(image_size) if image_size else source
    if is_timm_vit(network.model):
        return TimmPatchEncoder(source)
    if network.facts.get("type") in TYPES:
        return TransformersPatchEncoder(source)
    raise UsageError(
        f"{source.name} cannot be trained further, because its code cannot read a part of the patches alone: "
        f"that is for timm's ViTs and Eva (vit_*, deit*, eva02_*, *dinov3) and transformers' {', '.join(TYPES)}"
    )


def from_module(module: nn.Module) -> ForeignPatchEncoder | None:
    """A copy of a model of timm or transformers, without its classifier, to train further; None for another module.

    Raises UsageError unless a network that is built from its name and the arguments that are read off it computes the
    same: a run must be able to build it again.
    """
    if not (is_timm_vit(module) or is_transformers_vit(module)):
        return None
    kind: Any = trainable_timm if is_timm_vit(module) else trainable_transformers
    try:
        source = kind.source_of_module(module)
        _check_same(source)
    except Exception as error:  # the library's code, on arguments that do not fit together
        reason = " ".join(str(error).split())[:150]
        raise UsageError(
            f"model {type(module).__name__} was built with arguments that cannot be read off it ({reason}): save it "
            "for its library, and give openjepa.open_trainable(folder)"
        ) from error
    return trainable(source)


def _check_same(source: ForeignSource) -> None:
    """Raise ValueError unless the network of a source, built again from its architecture, gives the same tokens."""
    network = source.network
    again = StoredForeign.of(network).network(source.name, dict(network.model.state_dict()))
    images = torch.randn(1, network.in_chans, *network.image_size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        tokens, theirs = network(images), again(images)
    if not float((tokens - theirs).abs().max()) <= COMPARED * float(tokens.abs().max()):
        raise ValueError("the architecture by its name computes something else")
