"""A trained encoder in use: images in, embeddings and patch tokens out."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from openjepa.data.crops import Frame, resize_centre_crop, standardise
from openjepa.data.decoding.pixel_format import PixelFormat
from openjepa.encoder.encode import Path, encoded
from openjepa.encoder.given_images import Images, as_read
from openjepa.errors import UsageError
from openjepa.models.protocol import HasLayers, PatchEncoder
from openjepa.models.vit import VisionTransformer

LAYERS = 4
CACHED = 2**20  # numbers of a layer's tokens at a time on a CPU, so that they stay in its cache


@dataclass(frozen=True)
class Transform:
    """One image as an encoder reads it, for a `Dataset`: small, and picklable for the workers of a `DataLoader`."""

    frame: Frame
    pixel_format: PixelFormat

    def __call__(self, image: Image.Image | np.ndarray) -> Tensor:
        """A PIL image or an array [H, W, C] to [C, H, W], uint8 or float32. Raises UsageError for anything else."""
        (pixels,) = as_read(image, self.pixel_format)
        return torch.from_numpy(np.array(resize_centre_crop(pixels, *self.frame))).permute(2, 0, 1).contiguous()


class Encoder(nn.Module):
    """A network with the preprocessing that it was trained with: cropped and resized (`Frame`), standardised.

    `mean` and `std` are per channel, of 8-bit values divided by 255. `precision` is the dtype of the arithmetic;
    results are float32. `pixel_format` is how the values of image files become pixels; 8 bits where it is not given.
    `max_stretch` is that of the `Frame` that it sees of an image; `licence` is that of the weights, None where they
    state none.
    """

    def __init__(
        self,
        network: PatchEncoder,
        mean: list[float],
        std: list[float],
        name: str = "encoder",
        device: str | torch.device = "cpu",
        precision: torch.dtype = torch.float32,
        pixel_format: PixelFormat | None = None,
        max_stretch: float = 0.0,
        licence: str | None = None,
    ) -> None:
        super().__init__()
        self.network = network.to(device)
        self.mean, self.std, self.name, self.licence = mean, std, name, licence
        self.precision = precision
        self.pixel_format = pixel_format or PixelFormat(network.in_chans)
        self.max_stretch = max_stretch
        self.eval()

    @property
    def vit(self) -> VisionTransformer:
        """The network of an encoder of openjepa's own architecture; raises UsageError for another."""
        if not isinstance(self.network, VisionTransformer):
            raise UsageError(f"{self.name} is a {type(self.network).__name__}: this needs a plain ViT")
        return self.network

    @property
    def device(self) -> torch.device:
        """Where the network is; `to` moves it."""
        return next(self.network.parameters()).device

    @property
    def image_size(self) -> tuple[int, int]:
        return self.network.image_size

    @property
    def grid_size(self) -> tuple[int, int]:
        """(rows, columns) of patches."""
        return self.network.grid_size

    @property
    def frame(self) -> Frame:
        """What the network sees of an image."""
        return Frame(self.image_size, self.max_stretch)

    @property
    def transform(self) -> Transform:
        """What `preprocess` does, for one image at a time."""
        return Transform(self.frame, self.pixel_format)

    def forward(self, images: Tensor) -> Tensor:
        """Preprocessed images [B, C, H, W] to embeddings [B, D], float32 on the device, with gradients.

        They are the mean over patch tokens after the final norm, as `embed` gives it.
        """
        with self.arithmetic():
            return self.embedding(self.standardised(images)).float()

    def embedding(self, pixels: Tensor) -> Tensor:
        """Standardised images [B, C, H, W] to what `forward` gives, in the dtype that the network computes in."""
        return self.network(pixels).float().mean(dim=1)

    def embedding_and_tokens(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Standardised images [B, C, H, W] to what `embedding` gives and their patch tokens [B, N, D], in one pass."""
        tokens = self.network(pixels).float()
        return tokens.mean(dim=1), tokens

    def embed(self, images: Images, batch_size: int = 256) -> Tensor:
        """Embeddings [B, D]: the mean over patch tokens after the final norm.

        images: one PIL image or several (a list, a generator), arrays [H, W, C] or [B, H, W, C], or a tensor
        [B, C, H, W]: uint8, C 3, for an encoder of 8-bit RGB; for others C as it reads (or 3 for 1), of uint8, uint16
        or floating-point numbers. Raises UsageError for anything else.
        """
        return torch.cat([self.features(part) for part in self.preprocess(images).split(batch_size)])

    def encode(
        self,
        images: Path | Images | Iterable[Path | Image.Image | np.ndarray],
        batch_size: int = 32,
        show_progress_bar: bool = False,
        normalize_embeddings: bool = False,
        precision: str = "float32",
        truncate_dim: int | None = None,
    ) -> np.ndarray:
        """Embeddings [n, D] as a numpy array, [D] of a single image; the keywords are those of sentence-transformers.

        images: what `embed` takes, and paths of image files, which are read a batch at a time. `truncate_dim` keeps the
        first numbers of each, before `normalize_embeddings` makes its length 1. `precision`: float32, float16, int8 or
        uint8 (255 steps from the least to the largest value of each dimension among these images), binary or ubinary
        (a bit for each number, whether it is positive; eight to a byte). Raises UsageError for what is no image.
        """
        how = batch_size, show_progress_bar, normalize_embeddings, precision, truncate_dim
        return encoded(self, images, *how)

    def patch_tokens(self, images: Images, batch_size: int = 256) -> Tensor:
        """Patch tokens [B, rows, columns, D] after the final norm; images as for `embed`."""
        tokens = torch.cat([self.tokens(part) for part in self.preprocess(images).split(batch_size)])
        return tokens.unflatten(1, self.grid_size)

    def preprocess(self, images: Images) -> Tensor:
        """Any accepted images as [B, C, H, W] of the size the network was trained at, uint8 or float32 as it reads."""
        arrays = [resize_centre_crop(image, *self.frame) for image in as_read(images, self.pixel_format)]
        return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2)

    def features(self, images: Tensor) -> Tensor:
        """Preprocessed images [B, C, H, W] to embeddings [B, D] float32 on the CPU, averaged on the device."""
        with torch.inference_mode(), self.arithmetic():
            parts = (self.embedding(self.standardised(part)).float() for part in self.parts(images))
            return torch.cat([part.cpu() for part in parts])

    @torch.inference_mode()
    def layer_features(self, images: Tensor) -> Tensor:
        """Preprocessed images [B, C, H, W] to the mean patch tokens of the last four blocks [B, 4 * D], float32.

        They stand side by side (the paper's "last 4 layers concatenated", appendix A.2); the last D are `features`.
        Raises UsageError for a network without layers.
        """
        if not isinstance(self.network, HasLayers):
            raise UsageError(f"{self.name} is a {type(self.network).__name__}, which has no layers")
        parts = []
        for part in self.parts(images):
            with self.arithmetic():
                layers = self.network.layers(self.standardised(part), LAYERS)
            parts.append(torch.cat([tokens.float().mean(dim=1).cpu() for tokens in layers], dim=1))
        return torch.cat(parts)

    @torch.inference_mode()
    def tokens(self, images: Tensor) -> Tensor:
        """Preprocessed images [B, C, H, W] to patch tokens [B, N, D] float32 on the CPU."""
        with self.arithmetic():
            return torch.cat([self.network(self.standardised(part)).float().cpu() for part in self.parts(images)])

    def parts(self, images: Tensor) -> tuple[Tensor, ...]:
        """Images [B, C, H, W] split for the device: all at once, but on a CPU as many as fit its cache."""
        numbers = self.network.embed_dim * self.network.grid_size[0] * self.network.grid_size[1]
        return images.split(max(1, CACHED // numbers) if self.device.type == "cpu" else len(images))

    def standardised(self, images: Tensor) -> Tensor:
        """Preprocessed images [B, C, H, W] as the network reads them: float32, standardised, on its device.

        Raises UsageError if they have another number of channels.
        """
        if images.shape[1] != self.network.in_chans:
            raise UsageError(
                f"the encoder reads {self.network.in_chans} channels and the images have {images.shape[1]}"
            )
        return standardise(images.to(self.device), self.mean, self.std)

    def arithmetic(self) -> torch.autocast:
        """The context in which the network computes in `precision`."""
        return torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32)
