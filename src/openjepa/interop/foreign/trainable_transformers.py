"""Vision transformers of transformers that can be trained further."""

import copy
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
from openjepa.interop.foreign.transformers import config_fields, interpolation, model_class, quiet, transformers_network
from openjepa.interop.loaded_weights import IMAGENET_MEAN, IMAGENET_STD
from openjepa.optional import require

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


def source_of_module(module: Any) -> ForeignSource:
    """A source around a copy of the base model of a module of transformers; it states no mean and std: ImageNet's."""
    kind, config = module.config.model_type, module.config.to_dict()
    base = module if isinstance(module, model_class(kind)) else module.base_model
    model = copy.deepcopy(base).cpu().float()
    fields = config_fields(kind, config, f"the config of {type(module).__name__}")
    library = f"transformers {require('transformers', 'hf').__version__}"
    size = model.config.image_size
    rows, columns = size if isinstance(size, list | tuple) else (size, size)
    network = transformers_network(model, (rows, columns), {"library": library, "type": kind, "config": fields})
    return ForeignSource(type(module).__name__, network, Frame((rows, columns)), IMAGENET_MEAN, IMAGENET_STD)


def is_transformers_vit(module: object) -> bool:
    """Whether a module is a vision transformer of transformers of which any subset of the patches can be read."""
    here = type(module).__module__.startswith("transformers.models.")
    return here and getattr(getattr(module, "config", None), "model_type", None) in TYPES


def preprocessor(frame: Frame, mean: list[float], std: list[float]) -> dict[str, Any]:
    """preprocessor_config.json that shows of an image what a frame does, as far as transformers can."""
    rows, columns = frame.size
    found = hf_preprocessor(frame._replace(max_stretch=0.0), mean, std) | {"resample": int(frame.kernel)}
    if math.isinf(frame.max_stretch) or (rows != columns and frame.max_stretch > 0):
        return found | {"size": {"height": rows, "width": columns}, "do_center_crop": False}
    return found | {"size": {"shortest_edge": round(max(frame.size) / frame.zoom)}}
