"""A network of another library, to train further."""

from pathlib import Path

from openjepa.errors import UsageError
from openjepa.interop.foreign.open import open_foreign
from openjepa.interop.foreign.patch_encoder import ForeignPatchEncoder
from openjepa.interop.foreign.source import ForeignSource
from openjepa.interop.foreign.trainable_timm import TimmPatchEncoder, is_timm_vit
from openjepa.interop.foreign.trainable_transformers import TYPES, TransformersPatchEncoder


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
