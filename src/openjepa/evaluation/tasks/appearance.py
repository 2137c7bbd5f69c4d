"""What a picture looks like, as numbers that need no labels: colour, brightness, texture, and where the detail lies."""

import numpy as np
import torch
from torch import Tensor

from openjepa.data.decoding.pixel_format import RGB
from openjepa.evaluation.probes.ridge import ridge

TARGETS = {"colour": [0, 1, 2], "brightness": [3], "texture": [4], "position": [5, 6]}
SIDE = 64  # pixels at which appearance is measured


class Appearance:
    """A model whose features [B, 7] are the appearance of an image, seen at up to 64 px a side.

    Colour: the means of red, green and blue, less brightness. Brightness: the mean of all three. Texture: the log of
    the mean squared difference of neighbouring pixels. Position: row and column, from -1 to 1, of the centre of that
    difference. Pixel values in [0, 1].
    """

    name, pixel_format = "appearance", RGB

    def __init__(self, image_size: tuple[int, int]) -> None:
        shrink = min(1.0, SIDE / max(image_size))
        self.image_size = max(2, round(image_size[0] * shrink)), max(2, round(image_size[1] * shrink))

    def features(self, images: Tensor) -> Tensor:
        """uint8 [B, 3, H, W] to float32 [B, 7]."""
        pixels = images.float() / 255
        means = pixels.mean((2, 3))
        brightness = means.mean(1, keepdim=True)
        down, across = pixels.diff(dim=2)[..., :-1], pixels.diff(dim=3)[:, :, :-1]
        energy = (down.square() + across.square()).mean(1)
        texture = (energy.mean((1, 2)) + 1e-6).log()[:, None]
        return torch.cat([means - brightness, brightness, texture, *_centre(energy)], dim=1)


def _centre(energy: Tensor) -> tuple[Tensor, Tensor]:
    """Row and column [B, 1] of the centre of energy [B, H, W], from -1 to 1; 0 where there is none."""
    total = energy.sum((1, 2)).clamp(min=1e-12)
    return tuple(
        ((energy.sum(3 - axis) @ torch.linspace(-1, 1, energy.shape[axis])) / total)[:, None] for axis in (1, 2)
    )


def read_appearance(
    train: tuple[Tensor, Tensor],
    validation: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    device: torch.device | str = "cpu",
) -> dict[str, tuple[np.ndarray, tuple[float, ...]]]:
    """For each target, rows for `explained` and the strengths chosen: ridge regression of appearance on features.

    Each argument: features [n, D] and appearance [n, 7] of the same images.
    """
    fitted = ridge(*train, *validation, device)
    truth, guess = test[1].double().numpy(), fitted.predict(test[0]).double().numpy()
    return {
        name: (explained_rows(truth[:, columns], guess[:, columns]), tuple(fitted.strengths[k] for k in columns))
        for name, columns in TARGETS.items()
    }


def explained_rows(truth: np.ndarray, guess: np.ndarray) -> np.ndarray:
    """Rows [m, 4 * T] of squared error, value, squared value and one, from truth and guess [m, T]."""
    centred = truth - truth.mean(0)  # the sums of squares would cancel badly otherwise
    return np.concatenate([(truth - guess) ** 2, centred, centred**2, np.ones_like(truth)], axis=1)


def explained(sums: np.ndarray) -> np.ndarray:
    """R2, the mean over targets of 1 - squared error / squared deviation from the mean; from summed rows [..., 4 T]."""
    error, value, square, n = np.split(sums, 4, axis=-1)
    return (1 - error / np.maximum(square - value**2 / n, 1e-12)).mean(-1)
