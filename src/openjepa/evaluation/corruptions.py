"""Images corrupted in four ways and five strengths, to measure how far features change."""

import copy
import io
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageFilter

from openjepa.data.dataset import ImageDataset, read_as
from openjepa.data.decoding.pixel_format import RGB, Pixels, as_pixels
from openjepa.errors import UsageError
from openjepa.rng import CROPS, generator

STRENGTHS = (1, 2, 3, 4, 5)
SIGMAS = (0.012, 0.018, 0.025, 0.035, 0.05)  # of the Gaussian blur, as a fraction of the shorter side
NOISE = (0.04, 0.08, 0.12, 0.18, 0.26)  # standard deviation of the Gaussian noise, of pixels in [0, 1]
QUALITY = (25, 18, 15, 10, 7)  # of the JPEG, as in ImageNet-C (Hendrycks and Dietterich 2019, arXiv 1903.12261)
BRIGHTER = (0.1, 0.2, 0.3, 0.4, 0.5)  # added to the value of pixels in [0, 1], as in ImageNet-C


def blur(image: Image.Image, strength: int, rng: np.random.Generator) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(SIGMAS[strength - 1] * min(image.size)))


def noise(image: Image.Image, strength: int, rng: np.random.Generator) -> Image.Image:
    pixels = np.asarray(image, dtype=np.float32)
    added = rng.normal(0, 255 * NOISE[strength - 1], pixels.shape)
    return Image.fromarray(np.clip(np.rint(pixels + added), 0, 255).astype(np.uint8))


def jpeg(image: Image.Image, strength: int, rng: np.random.Generator) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=QUALITY[strength - 1])
    return Image.open(stream).convert("RGB")


def brightness(image: Image.Image, strength: int, rng: np.random.Generator) -> Image.Image:
    hue, saturation, value = image.convert("HSV").split()
    value = value.point(lambda v: min(255, v + round(255 * BRIGHTER[strength - 1])))
    return Image.merge("HSV", (hue, saturation, value)).convert("RGB")


CORRUPTIONS: dict[str, Callable[[Image.Image, int, np.random.Generator], Image.Image]] = {
    "blur": blur,
    "noise": noise,
    "jpeg": jpeg,
    "brightness": brightness,
}


class Corrupted(ImageDataset):
    """An ImageDataset whose images are corrupted when they are read, the same each time.

    Corruptions change 8-bit colours. Raises UsageError if the images of `dataset` cannot be read so.
    """

    def __init__(self, dataset: ImageDataset, corruption: str, strength: int) -> None:
        self.source, self.paths = dataset.source, dataset.paths
        self.labels, self.classes = dataset.labels, dataset.classes
        self.corruption, self._strength, self.pixel_format = corruption, strength, dataset.pixel_format
        if self.pixel_format.channels not in (1, 3) or self.pixel_format.values == "raw":
            raise UsageError(
                f"robustness is measured on grey and colour pictures, and those of {dataset.source} are read as "
                f"{self.pixel_format.in_words()}: leave it out of --tasks"
            )
        self._dataset, self._indices = read_as(dataset, RGB), np.arange(len(dataset))

    def __len__(self) -> int:
        return len(self._indices)

    def load(self, index: int) -> Pixels:
        place = int(self._indices[index])
        rng = generator(0, CROPS, place, self._strength)
        image = self._dataset.load(place)
        if not isinstance(image, Image.Image):
            image = Image.fromarray(image)
        worse = CORRUPTIONS[self.corruption](image, self._strength, rng)
        return worse if self.pixel_format == RGB else as_pixels(worse, self.pixel_format)

    def subset(self, indices: Sequence[int] | np.ndarray) -> "Corrupted":
        chosen, view = np.asarray(indices, np.int64), copy.copy(self)
        view._indices = self._indices[chosen]
        view.paths = [self.paths[k] for k in chosen]
        view.labels = {name: values[chosen] for name, values in self.labels.items()}
        return view
