"""Vision transformers of timm that can be trained further."""

import copy
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from openjepa.data.crops import Frame
from openjepa.encoder.foreign import ForeignNetwork
from openjepa.errors import UsageError
from openjepa.files import write_json
from openjepa.interop.foreign.patch_encoder import ForeignPatchEncoder, Rope
from openjepa.interop.foreign.source import ForeignSource
from openjepa.interop.foreign.timm import KERNELS, create, image_size_of, timm_network
from openjepa.interop.weights.files import save_tensors
from openjepa.optional import require

DERIVED = ("depth", "num_heads", "embed_dim", "patch_size", "in_chans")


class TimmPatchEncoder(ForeignPatchEncoder):
    """A vision transformer of timm, `timm.models.vision_transformer.VisionTransformer` or `timm.models.eva.Eva`."""

    format = "timm"

    def __init__(self, source: ForeignSource) -> None:
        super().__init__(source)
        self.rotary = isinstance(self.model, require("timm.models.eva", "timm").Eva)

    @property
    def blocks(self) -> nn.ModuleList:
        blocks: nn.ModuleList = self.model.blocks
        return blocks

    @property
    def mixed(self) -> bool:
        """Whether every block has its own rotations."""
        return bool(getattr(self.model, "rope_mixed", False))

    def embedded(self, images: Tensor) -> tuple[Tensor, Rope]:
        x = self.model.patch_embed(images)
        x, rope = self.model._pos_embed(x) if self.rotary else (self.model._pos_embed(x), None)
        return self.model.norm_pre(x), rope

    def selected(self, rope: Rope, ids: Tensor) -> Rope:
        """Rotations [B * m, 1, Nc, R] of [N, R]; of a network with mixed ones [blocks, B * m, heads, Nc, R]."""
        return rope[:, :, ids].transpose(1, 2) if self.mixed else rope[ids].unsqueeze(1)

    def through_blocks(self, x: Tensor, rope: Rope) -> Tensor:
        mixed = rope is not None and self.mixed
        for place, block in enumerate(self.model.blocks):
            x = block(x, rope=rope[place] if mixed else rope) if self.rotary else block(x)
        tokens: Tensor = self.model.norm(x)
        return tokens

    def write(self, folder: Path, source: ForeignSource) -> None:
        state = {name: value.detach().cpu() for name, value in self.model.state_dict().items()}
        save_tensors(state, folder / "model.safetensors")
        write_json(folder / "config.json", timm_config(source, self.model.num_features))


def is_timm_vit(module: object) -> bool:
    """Whether a module is a vision transformer of timm of which any subset of the patches can be read."""
    try:
        classes = (
            require("timm.models.vision_transformer", "timm").VisionTransformer,
            require("timm.models.eva", "timm").Eva,
        )
    except UsageError:  # without timm there is none of its modules
        return False
    return isinstance(module, classes)


def source_of_module(module: Any) -> ForeignSource:
    """A source around a copy of a module of timm, without its classifier.

    The arguments that it was built with are derived from the module, as far as they can be.
    """
    known = module.pretrained_cfg
    model = copy.deepcopy(module).cpu().float()
    model.reset_classifier(0)
    arguments = {"num_classes": 0, "img_size": list(image_size_of(model)), **_derived(model)}
    library = f"timm {require('timm', 'timm').__version__}"
    facts = {"library": library, "architecture": known["architecture"], "arguments": arguments}
    network = timm_network(model, image_size_of(model), facts)
    frame = Frame(network.image_size, 0.0, min(1.0, known["crop_pct"] or 1.0))
    return ForeignSource(
        known["architecture"], network, frame, list(known["mean"]), list(known["std"]), known.get("license")
    )


def _derived(model: Any) -> dict[str, Any]:
    """What of the shape of a module is other than that of its architecture by default, under timm's names."""
    with torch.device("meta"):
        usual: Any = create(model.pretrained_cfg["architecture"], {"num_classes": 0})
    shapes = [
        (
            len(m.blocks),
            m.blocks[0].attn.num_heads,
            m.embed_dim,
            m.patch_embed.patch_size[0],
            m.patch_embed.proj.in_channels,
        )
        for m in (model, usual)
    ]
    return {name: own for name, own, theirs in zip(DERIVED, *shapes, strict=True) if own != theirs}


def timm_config(source: ForeignSource, num_features: int) -> dict[str, Any]:
    """config.json of a folder of timm for a network that was opened from one."""
    network: ForeignNetwork = source.network
    frame = source.frame
    arguments = {**network.facts["arguments"], "img_size": list(network.image_size)}
    kernel = next(name for name, kernel in KERNELS.items() if kernel == frame.kernel)
    rows, columns = frame.size
    squash = math.isinf(frame.max_stretch) or (rows != columns and frame.max_stretch > 0)
    about = {
        "input_size": [network.in_chans, *network.image_size],
        "fixed_input_size": True,
        "interpolation": kernel,
        "crop_pct": frame.zoom,
        "crop_mode": "squash" if squash else "center",
        "mean": source.mean,
        "std": source.std,
        "num_classes": 0,
        "license": source.licence,
    }
    known = {"architecture": network.facts["architecture"], "num_classes": 0, "num_features": num_features}
    return {**known, "model_args": arguments, "pretrained_cfg": about}
