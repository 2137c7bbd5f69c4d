"""What people use of a trained model: images in, embeddings and patch tokens out."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from openjepa.core.vit import VisionTransformer
from openjepa.data.crops import resize_centre_crop, standardise
from openjepa.data.decode import upright_rgb
from openjepa.errors import UsageError

LAYERS = 4
CACHED = 2**20  # numbers of a layer's tokens at a time on a CPU, so that they stay in its cache
Images = Image.Image | np.ndarray | Tensor | Sequence[Image.Image | np.ndarray]


class Encoder:
    """A network with the preprocessing that it was trained with: shorter side resized, centre cropped, standardised.

    `mean` and `std` are per channel, in [0, 1] units. `precision` is the dtype of the arithmetic; results are float32.
    """

    def __init__(
        self,
        network: VisionTransformer,
        mean: list[float],
        std: list[float],
        name: str = "encoder",
        device: str | torch.device = "cpu",
        precision: torch.dtype = torch.float32,
    ) -> None:
        self.network = network.to(device).eval()
        self.mean, self.std, self.name = mean, std, name
        self.device, self.precision = torch.device(device), precision

    @property
    def image_size(self) -> tuple[int, int]:
        return self.network.image_size

    def embed(self, images: Images, batch_size: int = 256) -> Tensor:
        """Embeddings [B, D]: the mean over patch tokens after the final norm.

        images: one PIL image or a list of them, uint8 arrays [H, W, 3] or [B, H, W, 3], or a uint8 tensor [B, 3, H, W].
        """
        return torch.cat([self.features(part) for part in self.preprocess(images).split(batch_size)])

    def patch_tokens(self, images: Images, batch_size: int = 256) -> Tensor:
        """Patch tokens [B, rows, columns, D] after the final norm; images as for `embed`."""
        tokens = torch.cat([self.tokens(part) for part in self.preprocess(images).split(batch_size)])
        return tokens.unflatten(1, self.network.grid_size)

    def preprocess(self, images: Images) -> Tensor:
        """Any accepted images as uint8 [B, 3, H, W] of the size the network was trained at."""
        arrays = [resize_centre_crop(image, self.image_size) for image in as_pil_images(images)]
        return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2)

    def features(self, images: Tensor) -> Tensor:
        """Preprocessed uint8 images [B, 3, H, W] to embeddings [B, D] float32 on the CPU."""
        return self.tokens(images).mean(dim=1)

    @torch.inference_mode()
    def layer_features(self, images: Tensor) -> Tensor:
        """Preprocessed uint8 images [B, 3, H, W] to the mean patch tokens of the last four blocks [B, 4 * D], float32.

        They stand side by side (the paper's "last 4 layers concatenated", appendix A.2); the last D are `features`.
        """
        parts = []
        for part in self.parts(images):
            with self.arithmetic():
                layers = self.network.layers(self.standardised(part), LAYERS)
            parts.append(torch.cat([tokens.float().mean(dim=1).cpu() for tokens in layers], dim=1))
        return torch.cat(parts)

    @torch.inference_mode()
    def tokens(self, images: Tensor) -> Tensor:
        """Preprocessed uint8 images [B, C, H, W] to patch tokens [B, N, D] float32 on the CPU; UsageError.

        C is the number of channels that the network reads; for one that reads grey, RGB images are made grey.
        """
        with self.arithmetic():
            return torch.cat([self.network(self.standardised(part)).float().cpu() for part in self.parts(images)])

    def parts(self, images: Tensor) -> tuple[Tensor, ...]:
        """Images as many at a time as the device does best: all of them, but on a CPU what fits its cache."""
        numbers = self.network.embed_dim * self.network.grid_size[0] * self.network.grid_size[1]
        return images.split(max(1, CACHED // numbers) if self.device.type == "cpu" else len(images))

    def standardised(self, images: Tensor) -> Tensor:
        """Preprocessed uint8 images [B, 3, H, W] as the network wants them, float32 on its device."""
        return standardise(as_channels(images, self.network.in_chans).to(self.device), self.mean, self.std)

    def arithmetic(self) -> torch.autocast:
        """The context in which the network computes in `precision`."""
        return torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32)


def as_channels(images: Tensor, channels: int) -> Tensor:
    """Images [B, C, H, W] with as many channels as a network reads; raises UsageError if RGB does not give them."""
    if images.shape[1] == channels:
        return images
    if (images.shape[1], channels) != (3, 1):
        raise UsageError(f"the encoder reads {channels} channels and the images have {images.shape[1]}")
    weights = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)  # luma as Pillow's, ITU-R BT.601
    return (images * weights).sum(dim=1, keepdim=True).round().to(torch.uint8)


def as_pil_images(images: Images) -> list[Image.Image]:
    """A list of RGB PIL images; raises UsageError for anything that is not images."""
    if isinstance(images, Image.Image):
        images = [images]
    if isinstance(images, Tensor):
        images = images.permute(0, 2, 3, 1).cpu().numpy() if images.ndim == 4 else images.numpy()
    if isinstance(images, np.ndarray) and images.ndim == 3:
        images = [images]
    if len(images) == 0:
        raise UsageError("no images given: give at least one")
    return [upright_rgb(image) if isinstance(image, Image.Image) else _from_array(image) for image in images]


def _from_array(array: np.ndarray) -> Image.Image:
    if not isinstance(array, np.ndarray) or array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        given = f"{getattr(array, 'dtype', type(array).__name__)} {list(getattr(array, 'shape', []))}"
        raise UsageError(f"cannot read {given} as an image: give PIL images or uint8 arrays [H, W, 3]")
    return Image.fromarray(array)
