"""Vision transformers of transformers that can be trained further."""

import math
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from openjepa.data.crops import Frame
from openjepa.files import write_json
from openjepa.interop.artifact import hf_preprocessor
from openjepa.interop.foreign.patch_encoder import ForeignPatchEncoder, Rope
from openjepa.interop.foreign.preprocessor import FILE
from openjepa.interop.foreign.source import ForeignSource
from openjepa.interop.foreign.transformers import interpolation, quiet

TYPES = ("vit", "deit", "vit_msn", "dinov2", "dinov2_with_registers", "dinov3_vit")  # tested: their forward is ours


class TransformersPatchEncoder(ForeignPatchEncoder):
    """A ViT, DeiT, ViT-MSN, DINOv2 (also with registers) or DINOv3 ViT of transformers."""

    format = "hf"

    @property
    def blocks(self) -> nn.ModuleList:
        """In the places where versions of transformers keep them: layers, encoder.layer, model.layer or layer."""
        inner = getattr(self.model, "encoder", getattr(self.model, "model", self.model))
        blocks: nn.ModuleList = inner.layers if hasattr(inner, "layers") else inner.layer
        return blocks

    def embedded(self, images: Tensor) -> tuple[Tensor, Rope]:
        x = self.model.embeddings(images, **interpolation(self.model.embeddings, self.model.config, images))
        return x, self.model.rope_embeddings(images) if hasattr(self.model, "rope_embeddings") else None

    def selected(self, rope: Rope, ids: Tensor) -> Rope:
        """Cosines and sines [N, R] to [B * m, 1, Nc, R]."""
        return tuple(part[ids].unsqueeze(1) for part in rope)

    def through_blocks(self, x: Tensor, rope: Rope) -> Tensor:
        how = {} if rope is None else {"position_embeddings": rope}
        for block in self.blocks:
            found = block(x, **how)
            x = found[0] if isinstance(found, tuple) else found
        norm = self.model.layernorm if hasattr(self.model, "layernorm") else self.model.norm
        tokens: Tensor = norm(x)
        return tokens

    def write(self, folder: Path, source: ForeignSource) -> None:
        with quiet():
            self.model.save_pretrained(folder)
        write_json(folder / FILE, preprocessor(source.frame, source.mean, source.std))


def preprocessor(frame: Frame, mean: list[float], std: list[float]) -> dict[str, Any]:
    """preprocessor_config.json that shows of an image what a frame does, as far as transformers can."""
    rows, columns = frame.size
    found = hf_preprocessor(frame._replace(max_stretch=0.0), mean, std) | {"resample": int(frame.kernel)}
    if math.isinf(frame.max_stretch) or (rows != columns and frame.max_stretch > 0):
        return found | {"size": {"height": rows, "width": columns}, "do_center_crop": False}
    return found | {"size": {"shortest_edge": round(max(frame.size) / frame.zoom)}}
