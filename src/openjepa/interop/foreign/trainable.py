"""Vision transformers of timm that can be trained further: timm's own network, reading any subset of its patches."""

from pathlib import Path
from typing import Any, Self

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from openjepa.encoder.foreign import ForeignNetwork
from openjepa.errors import UsageError
from openjepa.files import atomic_folder, usage_error, write_json
from openjepa.interop.foreign.open import open_foreign
from openjepa.interop.foreign.source import ForeignSource
from openjepa.interop.foreign.timm import KERNELS, TimmNetwork
from openjepa.interop.weights.files import PT
from openjepa.models.vit import take
from openjepa.optional import require


class TimmPatchEncoder(nn.Module):
    """A vision transformer of timm that keeps the protocol `openjepa.PatchEncoder`.

    Class token and registers stay inside: every subset of patches is read together with them, and patch tokens are
    returned. Patches get their positions by the model's own rule before they are selected; of rotary positions, the
    rotations of the selected patches are used. Modules stay in evaluation mode, because dropout and the like would make
    the context depend on chance.

    `mean` and `std` are those of the images that it was trained on; `source` is what it was opened from, with the rest
    of its preprocessing and its licence.
    """

    def __init__(self, source: ForeignSource) -> None:
        super().__init__()
        self.source, self.mean, self.std = source, source.mean, source.std
        network = source.network
        self.model: Any = network.model.requires_grad_(True)
        self.embed_dim, self.patch_size, self.in_chans = network.embed_dim, network.patch_size, network.in_chans
        self.image_size, self.grid_size = network.image_size, network.grid_size
        self.prefix = network.layout.prefix
        self.rotary = isinstance(self.model, require("timm.models.eva", "timm").Eva)
        self.eval()

    @property
    def blocks(self) -> nn.ModuleList:
        blocks: nn.ModuleList = self.model.blocks
        return blocks

    def forward(self, images: Tensor, ids: Tensor | None = None) -> Tensor:
        """Standardised images [B, C, H, W] to tokens [B, N, D], or of patches `ids` [B * m, Nc] to [B * m, Nc, D]."""
        x, rope = self._embedded(images)
        if ids is not None:
            x, rope = self._selected(x, rope, ids)
        mixed = rope is not None and getattr(self.model, "rope_mixed", False)
        for place, block in enumerate(self.model.blocks):
            x = block(x, rope=rope[place] if mixed and rope is not None else rope) if self.rotary else block(x)
        tokens: Tensor = self.model.norm(x)
        return tokens[:, self.prefix :]

    def _embedded(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Prefix and patch tokens with positions [B, P + N, D], and the rotations of the patches, if any."""
        x = self.model.patch_embed(images)
        x, rope = self.model._pos_embed(x) if self.rotary else (self.model._pos_embed(x), None)
        return self.model.norm_pre(x), rope

    def _selected(self, x: Tensor, rope: Tensor | None, ids: Tensor) -> tuple[Tensor, Tensor | None]:
        """The same of the patches `ids` alone: rotations [B * m, 1, Nc, R], mixed [blocks, B * m, heads, Nc, R]."""
        first = x[:, : self.prefix].repeat_interleave(len(ids) // len(x), dim=0)
        x = torch.cat([first, take(x[:, self.prefix :], ids)], dim=1)
        if rope is not None and getattr(self.model, "rope_mixed", False):
            rope = rope[:, :, ids].transpose(1, 2)
        elif rope is not None:
            rope = rope[ids].unsqueeze(1)
        return x, rope

    def train(self, mode: bool = True) -> Self:
        return super().train(False)

    def save(self, folder: str | Path) -> Path:
        """Write a folder that timm.create_model("local-dir:FOLDER", pretrained=True) opens. Raises UsageError."""
        path = Path(folder)
        config = timm_config(self.source, self.model.num_features)
        with usage_error(path), atomic_folder(path) as part:
            state = {name: value.detach().cpu().contiguous() for name, value in self.model.state_dict().items()}
            save_file(state, part / "model.safetensors", PT)
            write_json(part / "config.json", config)
        return path


def open_trainable(name: str | Path, image_size: tuple[int, int] | None = None) -> TimmPatchEncoder:
    """The vision transformer of a timm name or folder, to train further: `openjepa.pretrain(images, model=...)`.

    `image_size` (rows, columns) is that of the training, if not the model's own. Raises UsageError for a model that is
    no vision transformer of timm, and for one whose positions cannot be selected, as a relative position bias.
    """
    source = open_foreign(str(name))
    if source is None:
        raise UsageError(f"{name} is opened by --init: open_trainable is for vision transformers of timm that are not")
    if not can_train(source.network):
        raise UsageError(
            f"{source.name} cannot be trained further: that is for timm's vision transformers (vit_*, deit*, eva02_*, "
            "*dinov3), without relative position bias"
        )
    return TimmPatchEncoder(source.at_size(image_size) if image_size else source)


def can_train(network: ForeignNetwork) -> bool:
    """Whether any subset of the patches of a network can be read."""
    if not isinstance(network, TimmNetwork):
        return False
    vit = require("timm.models.vision_transformer", "timm").VisionTransformer
    return isinstance(network.model, (vit, require("timm.models.eva", "timm").Eva))


def timm_config(source: ForeignSource, num_features: int) -> dict[str, Any]:
    """config.json of a folder of timm for a network that was opened from one."""
    network, frame = source.network, source.frame
    arguments = {**network.facts["arguments"], "img_size": list(network.image_size)}
    kernel = next(name for name, kernel in KERNELS.items() if kernel == frame.kernel)
    about = {
        "input_size": [network.in_chans, *network.image_size],
        "fixed_input_size": True,
        "interpolation": kernel,
        "crop_pct": frame.zoom,
        "crop_mode": "squash" if frame.max_stretch else "center",
        "mean": source.mean,
        "std": source.std,
        "num_classes": 0,
        "license": source.licence,
    }
    known = {"architecture": network.facts["architecture"], "num_classes": 0, "num_features": num_features}
    return {**known, "model_args": arguments, "pretrained_cfg": about}
