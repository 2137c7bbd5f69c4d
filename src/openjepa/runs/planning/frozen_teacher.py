"""A trained encoder in the place of the target encoder of a run."""

import functools
import hashlib
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from openjepa.config import size_text
from openjepa.encoder.encoder import Encoder
from openjepa.interop.weights.shapes import StoredTeacher


@dataclass(frozen=True)
class FrozenTeacher:
    """A trained encoder as the target encoder of a run whose images are standardised with `mean` and `std`.

    Images are resized (bilinear, antialiased) where the teacher's patches are of another size than the run's.
    """

    encoder: Encoder
    mean: list[float]
    std: list[float]

    @property
    def embed_dim(self) -> int:
        return self.encoder.network.embed_dim

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """The images of a step [B, C, H, W] to patch tokens [B, N, T]."""
        size = self.encoder.image_size
        if tuple(images.shape[2:]) != size:
            images = F.interpolate(images, size=size, mode="bilinear", antialias=True)
        own, theirs = ((self.mean, self.std), (self.encoder.mean, self.encoder.std))
        shift, scale = (torch.tensor(values, device=images.device).view(-1, 1, 1) for values in own)
        mean, std = (torch.tensor(values, device=images.device).view(-1, 1, 1) for values in theirs)
        tokens: Tensor = self.encoder.network((images * scale + shift - mean) / std)
        return tokens

    @functools.cached_property
    def record(self) -> StoredTeacher:
        """What config.json says of it."""
        encoder = self.encoder
        weights, size = weights_hash(encoder), encoder.image_size
        return StoredTeacher(
            name=encoder.name, licence=encoder.licence, weights=weights, embed_dim=self.embed_dim, image_size=size
        )

    def in_words(self) -> str:
        """The line of the plan."""
        millions = sum(p.numel() for p in self.encoder.network.parameters()) / 1e6
        licence = self.encoder.licence or "not stated"
        return (
            f"  learns from {self.encoder.name}, frozen: {millions:.1f} M, {self.embed_dim} wide, at "
            f"{size_text(self.encoder.image_size)} px; licence: {licence}"
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> "FrozenTeacher":
        """Itself: copies of a method share their teacher."""
        return self

    @property
    def bytes(self) -> float:
        return float(sum(p.numel() * p.element_size() for p in self.encoder.network.parameters()))


@dataclass(frozen=True)
class AbsentTeacher:
    """The teacher of a stored run, where its networks are built and nothing is computed with them."""

    embed_dim: int

    def __call__(self, images: Tensor) -> Tensor:
        raise RuntimeError("this run was opened without its teacher")


def weights_hash(encoder: Encoder) -> str:
    """A hash of the weights of an encoder with its mean and std, the same on all devices."""
    digest = hashlib.sha256(repr([encoder.mean, encoder.std]).encode())
    for name, value in encoder.network.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]
