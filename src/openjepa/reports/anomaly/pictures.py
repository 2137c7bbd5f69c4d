"""Pictures of where images are odd: a heat map over what the model sees of each."""

from pathlib import Path

import numpy as np
from matplotlib import colormaps
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from openjepa.anomaly.detector import Detector
from openjepa.anomaly.evaluate import enlarged
from openjepa.data.crops import resize_centre_crop
from openjepa.data.dataset import ImageDataset
from openjepa.files import atomic_file, usage_error
from openjepa.reports.drawing import as_picture

COLOURS = colormaps["inferno"]
FROM, TO = 1.0, 8.0  # standard deviations above normal patches: where colour begins, and where it is strongest
STRONGEST = 0.75  # opacity


def heat(picture: np.ndarray, map_: np.ndarray) -> np.ndarray:
    """A picture uint8 [H, W, 3] under the colours of a map [H, W] in standard deviations; uint8."""
    height = np.clip((map_ - FROM) / (TO - FROM), 0, 1)
    opacity = (STRONGEST * np.sqrt(height))[..., None]
    colour = COLOURS(0.25 + 0.75 * height)[..., :3] * 255
    return ((1 - opacity) * picture + opacity * colour).round().astype(np.uint8)


class MapWriter:
    """Writes `heat` of images of a dataset as PNG files into a folder, below the same names."""

    def __init__(self, folder: Path, detector: Detector, dataset: ImageDataset) -> None:
        self.folder, self.detector, self.dataset = folder, detector, dataset

    def __call__(self, index: int, map_: Tensor) -> None:
        """The map [N] of the image `index`. Raises UsageError where it cannot be written."""
        seen = resize_centre_crop(self.dataset.load(index), *self.detector.frame)
        picture = heat(as_picture(seen), enlarged(map_, self.detector).numpy())
        path = place_below(self.folder, self.dataset.paths[index])
        about = PngInfo()
        about.add_text("Software", "openjepa")
        with usage_error(path), atomic_file(path) as part:
            Image.fromarray(picture).save(part, "PNG", pnginfo=about)


def place_below(folder: Path, name: str) -> Path:
    """A path of a PNG for an image of a name, which does not leave the folder whatever the name is."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    return folder.joinpath(*parts[:-1], f"{parts[-1] if parts else 'image'}.png")
