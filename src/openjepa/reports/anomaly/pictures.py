"""Pictures of where images are odd: a heat map over what the model sees of each."""

import itertools
import unicodedata
from collections import Counter
from collections.abc import Iterable
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
from openjepa.data.storage.layout import is_image
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
    """Writes `heat` of images of a dataset as PNG files into a folder, named as `map_names` says."""

    def __init__(self, folder: Path, detector: Detector, dataset: ImageDataset) -> None:
        self.folder, self.detector, self.dataset = folder, detector, dataset
        self.names = map_names(dataset.paths)

    def __call__(self, index: int, map_: Tensor) -> None:
        """The map [N] of the image `index`. Raises UsageError where it cannot be written."""
        seen = resize_centre_crop(self.dataset.load(index), *self.detector.frame)
        picture = heat(as_picture(seen), enlarged(map_, self.detector).numpy())
        path = self.folder / self.names[index]
        about = PngInfo()
        about.add_text("Software", "openjepa")
        with usage_error(path), atomic_file(path) as part:
            Image.fromarray(picture).save(part, "PNG", pnginfo=about)


def map_names(paths: Iterable[str]) -> list[str]:
    """A name of a PNG below a folder for each image: no two the same, and none outside of it, whatever the paths are.

    The ending of the image gives way to .png. Where images differ in nothing else, as x.jpg and x.png, both keep it:
    x.jpg.png and x.png.png. What is the same even then is numbered.
    """
    inside = [_inside(path) for path in paths]
    short = Counter(_key(_stem(name)) for name in inside)
    wanted = [_stem(name) if short[_key(_stem(name))] == 1 else name for name in inside]
    folders = {_key(folder) for name in inside for folder in itertools.accumulate(name.split("/")[:-1], "{}/{}".format)}
    taken, names = {folder.removesuffix(".png") for folder in folders if folder.endswith(".png")}, []
    for name in wanted:
        tried = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
        free = next(one for one in tried if _key(one) not in taken)
        taken.add(_key(free))
        names.append(f"{free}.png")
    return names


def _inside(path: str) -> str:
    """A path that leads nowhere out of a folder."""
    parts = [part for part in path.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    return "/".join(parts) or "image"


def _stem(name: str) -> str:
    """A name without the ending of an image file."""
    return name.rpartition(".")[0] if is_image(name) and not name.rpartition("/")[2].startswith(".") else name


def _key(name: str) -> str:
    """The same for names that are one file where case does not count, or letters with accents are taken apart."""
    return unicodedata.normalize("NFC", name).casefold()
