"""Several views of each image: the mean of the features of a fixed set of crops."""

from collections.abc import Iterator
from fractions import Fraction

import torch
from torch import Tensor

from openjepa.data.crops import Frame
from openjepa.encoder.encoder import Encoder
from openjepa.encoder.features import Model
from openjepa.errors import UsageError

LARGER = Fraction(8, 7)  # of each side of the image that crops are cut from; 256 px for crops of 224 px
CROPS = {2: "the image and its mirror image", 5: "its centre and corners", 10: "these and their mirror images"}


class Cropped(Encoder):
    """An encoder whose embedding is the mean over `crops` of each image, as CROPS lists; it has no patch tokens.

    Crops of centre and corners have 7/8 of each side of what `whole` sees, at its resolution.
    """

    def __init__(self, whole: Encoder, crops: int) -> None:
        check_crops(crops)
        how = whole.device, whole.precision, whole.pixel_format, whole.max_stretch, whole.licence
        super().__init__(whole.network, whole.mean, whole.std, f"{whole.name} ({crops} crops)", *how)
        self.whole, self.crops = whole, crops

    @property
    def frame(self) -> Frame:
        frame = self.whole.frame
        return frame if self.crops == 2 else frame._replace(size=larger(frame.size))

    def embedding(self, pixels: Tensor) -> Tensor:
        """Standardised images [B, C, H, W] to embeddings [B, D], in the dtype that the network computes in."""
        return torch.stack([self.whole.embedding(crop) for crop in self._cut(pixels)]).mean(dim=0)

    def layer_features(self, images: Tensor) -> Tensor:
        """Preprocessed images [B, C, H, W] to the mean patch tokens of the last four blocks [B, 4 * D], float32."""
        return torch.stack([self.whole.layer_features(crop) for crop in self._cut(images)]).mean(dim=0)

    def tokens(self, images: Tensor) -> Tensor:
        """Raises UsageError: the patches of several crops have no common places."""
        raise UsageError(f"{self.name} has no patch tokens: leave out --crops")

    def embedding_and_tokens(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Raises UsageError, as `tokens` does."""
        return self.embedding(pixels), self.tokens(pixels)

    def _cut(self, images: Tensor) -> Iterator[Tensor]:
        """The crops [B, C, h, w], one of each image at a time."""
        rows, columns = self.whole.frame.size
        down, across = images.shape[2] - rows, images.shape[3] - columns
        corners = [(0, 0), (0, across), (down, 0), (down, across)] if self.crops > 2 else []
        for top, left in ((down // 2, across // 2), *corners):
            crop = images[:, :, top : top + rows, left : left + columns]
            yield crop
            if self.crops != 5:
                yield crop.flip(3)


def larger(size: tuple[int, int]) -> tuple[int, int]:
    """The size (rows, columns) of the image that crops of `size` are cut from."""
    rows, columns = (round(side * LARGER) for side in size)
    return rows, columns


def cropped(model: Model, crops: int) -> Cropped:
    """An encoder with crops. Raises UsageError for another model."""
    if not isinstance(model, Encoder):
        raise UsageError(f"--crops needs an encoder, which {model.name} is not: leave it out")
    return Cropped(model, crops)


def check_crops(crops: int) -> None:
    """Raise UsageError for a number of crops that there is no set of."""
    if crops not in CROPS:
        known = ", ".join(f"{number} ({what})" for number, what in CROPS.items())
        raise UsageError(f"--crops {crops} is not possible: possible are {known}")
