"""Vision transformers of other libraries that can be trained further: their own network on any subset of patches."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from openjepa.data.crops import Frame
from openjepa.data.decoding.pixel_format import PixelFormat
from openjepa.files import atomic_folder, usage_error
from openjepa.interop.foreign.source import ForeignSource
from openjepa.models.vit import take

Rope = Any  # rotations of the patches, as the library has them; None of a network without


class ForeignPatchEncoder(nn.Module, ABC):
    """A vision transformer of another library that keeps the protocol `openjepa.PatchEncoder`.

    Class token and registers stay inside: every subset of patches is read together with them, and patch tokens are
    returned. Patches get their positions by the model's own rule before they are selected; of rotary positions, the
    rotations of the selected patches are used. Modules stay in evaluation mode, because dropout and the like would make
    the context depend on chance.

    `mean` and `std` are those of the images that it was trained on; `source` is what it was opened from, with the rest
    of its preprocessing and its licence.
    """

    format: str  # of `openjepa export` that its library opens

    def __init__(self, source: ForeignSource) -> None:
        super().__init__()
        self.source, self.mean, self.std = source, source.mean, source.std
        network = source.network
        self.model: Any = network.model.requires_grad_(True)
        self.embed_dim, self.patch_size, self.in_chans = network.embed_dim, network.patch_size, network.in_chans
        self.image_size, self.grid_size = network.image_size, network.grid_size
        self.prefix = network.layout.prefix
        self.eval()

    @property
    @abstractmethod
    def blocks(self) -> Iterable[nn.Module]:
        """The blocks, in order."""

    @abstractmethod
    def embedded(self, images: Tensor) -> tuple[Tensor, Rope]:
        """Prefix and patch tokens with positions [B, P + N, D], and the rotations of the patches, if any."""

    @abstractmethod
    def selected(self, rope: Rope, ids: Tensor) -> Rope:
        """The rotations of the patches `ids` [B * m, Nc] alone."""

    @abstractmethod
    def through_blocks(self, x: Tensor, rope: Rope) -> Tensor:
        """Tokens [B, T, D] after all blocks and the final norm."""

    @abstractmethod
    def write(self, folder: Path, source: ForeignSource) -> None:
        """Write the files that its library opens, with the preprocessing of `source`, into a folder. Raises OSError."""

    def forward(self, images: Tensor, ids: Tensor | None = None) -> Tensor:
        """Standardised images [B, C, H, W] to tokens [B, N, D], or of patches `ids` [B * m, Nc] to [B * m, Nc, D]."""
        x, rope = self.embedded(images)
        if ids is not None:
            first = x[:, : self.prefix].repeat_interleave(len(ids) // len(x), dim=0)
            x = torch.cat([first, take(x[:, self.prefix :], ids)], dim=1)
            rope = None if rope is None else self.selected(rope, ids)
        return self.through_blocks(x, rope)[:, self.prefix :]

    def train(self, mode: bool = True) -> Self:
        return super().train(False)

    def save(self, folder: str | Path) -> Path:
        """Write a new folder that its library opens: timm's create_model or transformers' AutoModel. UsageError."""
        path = Path(folder)
        with usage_error(path), atomic_folder(path) as part:
            self.write(part, self.source)
        return path

    def as_source(
        self, mean: list[float], std: list[float], frame: Frame, licence: str | None, pixel_format: PixelFormat
    ) -> ForeignSource:
        """Its network as it is now, with the preprocessing of the run that trained it."""
        licence = licence or self.source.licence
        about: dict[str, Any] = {"frame": frame, "licence": licence, "notes": (), "pixel_format": pixel_format}
        about["pooling"] = "mean"  # as training has it
        return replace(self.source, mean=mean, std=std, trained=True, **about)
