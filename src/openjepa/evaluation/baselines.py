"""What every result stands beside: raw pixels, and an encoder of the same shape that was never trained."""

import torch
from torch import Tensor

from openjepa.core.vit import VisionTransformer, patchify
from openjepa.evaluation.encoder import Encoder

LARGEST_PIXELS = 32


class Pixels:
    """Raw pixels as features: images at the encoder's size, but no larger than 32 px a side, flattened [B, 3*H*W]."""

    name = "pixels"

    def __init__(self, image_size: tuple[int, int]) -> None:
        shrink = min(1.0, LARGEST_PIXELS / max(image_size))
        self.image_size = (max(1, round(image_size[0] * shrink)), max(1, round(image_size[1] * shrink)))

    def features(self, images: Tensor) -> Tensor:
        """uint8 [B, 3, H, W] to float32 [B, 3*H*W] in [0, 1]."""
        return images.flatten(1).float() / 255


class PatchPixels:
    """The raw pixels of each patch as its token, for tasks that ask patches: [B, N, 3 * patch_size**2]."""

    name = "pixels"

    def __init__(self, image_size: tuple[int, int], patch_size: int) -> None:
        self.image_size, self.patch_size = image_size, patch_size
        self.grid_size = (image_size[0] // patch_size, image_size[1] // patch_size)

    def features(self, images: Tensor) -> Tensor:
        """uint8 [B, 3, H, W] to float32 [B, 3*H*W] in [0, 1]."""
        return images.flatten(1).float() / 255

    def tokens(self, images: Tensor) -> Tensor:
        """uint8 [B, 3, H, W] to float32 [B, N, 3 * patch_size**2] in [0, 1]."""
        return patchify(images.float() / 255, self.patch_size)


def seeded(seed: int, **arguments) -> VisionTransformer:
    """A freshly initialised network; the same for the same seed, and torch's own generator is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return VisionTransformer(**arguments)


def untrained_like(encoder: Encoder, seed: int = 0) -> Encoder:
    """An untrained encoder with the shape, initialisation, preprocessing, device and precision of another."""
    network = seeded(seed, **encoder.network.arguments())
    return Encoder(network, encoder.mean, encoder.std, "untrained", encoder.device, encoder.precision)
