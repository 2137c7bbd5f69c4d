"""preprocessor_config.json of transformers: what of an image a network sees, and how its values are scaled."""

import math
from pathlib import Path
from typing import Annotated

from PIL.Image import Resampling
from pydantic import Field

from openjepa.data.crops import Frame
from openjepa.errors import UsageError
from openjepa.interop.loaded_weights import IMAGENET_MEAN, IMAGENET_STD
from openjepa.interop.weights.files import FETCH
from openjepa.interop.weights.shapes import Mean, Side, Std
from openjepa.safety.schema import Schema, read_json

FILE = "preprocessor_config.json"
SQUASHED = 384  # px from which ConvNeXt's preprocessing stretches images whole (crop_pct, below)


class Size(Schema):
    """A size in one of the ways that transformers has."""

    height: Side | None = None
    width: Side | None = None
    shortest_edge: Side | None = None


class Preprocessor(Schema):
    """What of preprocessor_config.json is used."""

    do_resize: bool = True
    size: Side | Size | None = None
    do_center_crop: bool = False
    crop_size: Side | Size | None = None
    crop_pct: Annotated[float, Field(gt=0.05, le=1)] | None = None
    resample: Annotated[int, Field(ge=0, le=5)] | None = None
    do_rescale: bool = True
    rescale_factor: Annotated[float, Field(gt=1e-6, le=1e3)] = 1 / 255
    do_normalize: bool = True
    image_mean: tuple[Mean, ...] | None = None
    image_std: tuple[Std, ...] | None = None
    do_flip_channel_order: bool = False

    def frame(self, native: tuple[int, int]) -> Frame:
        """What is seen of an image; `native` is the size (rows, columns) where the file states none."""
        kernel = Resampling(self.resample) if self.resample is not None else Resampling.BICUBIC
        edge = self.size if isinstance(self.size, int) else self.size.shortest_edge if self.size else None
        whole = None if isinstance(self.size, int) else _pair(self.size)
        if self.do_center_crop:
            crop = _pair(self.crop_size) or whole or ((edge, edge) if edge else native)
            resized = edge or (min(whole) if whole else min(crop))
            return Frame(crop, 0.0, min(1.0, min(crop) / resized), kernel)
        if self.crop_pct and edge and edge < SQUASHED:
            return Frame((edge, edge), 0.0, edge / int(edge / self.crop_pct), kernel)
        size = whole or ((edge, edge) if edge else native)
        cropped = isinstance(self.size, Size) and edge and not self.crop_pct
        return Frame(size, 0.0 if cropped else math.inf, 1.0, kernel)

    def statistics(self) -> tuple[list[float], list[float]]:
        """Mean and std of values in [0, 1] that give what the processor gives."""
        scale = 255 * (self.rescale_factor if self.do_rescale else 1)
        mean, std = (self.image_mean or IMAGENET_MEAN), (self.image_std or IMAGENET_STD)
        if not self.do_normalize:
            mean, std = [0.0] * len(mean), [1.0] * len(std)
        exact = math.isclose(scale, 1)
        return (list(mean), list(std)) if exact else ([x / scale for x in mean], [x / scale for x in std])


def preprocessing_of(
    folder: Path, native: object, name: str
) -> tuple[Frame, list[float], list[float], tuple[str, ...]]:
    """Frame, mean, std and notes of a folder whose network was made for images of `native` pixels. UsageError."""
    path = folder / FILE
    size = (native, native) if isinstance(native, int) else tuple(native) if isinstance(native, list | tuple) else ()
    rows, columns = size if len(size) == 2 else (224, 224)
    if not path.is_file():
        notice = f"{name} does not state its preprocessing: ImageNet's mean and std are used, at {rows}x{columns} px"
        return Frame((rows, columns)), IMAGENET_MEAN, IMAGENET_STD, (notice,)
    found = read_json(path, Preprocessor, FETCH)
    if found.do_flip_channel_order:
        raise UsageError(f"{path} asks for channels in the order blue, green, red, which is not supported")
    return found.frame((rows, columns)), *found.statistics(), ()


def _pair(size: object) -> tuple[int, int] | None:
    """(rows, columns) of a size that states both."""
    if isinstance(size, int):
        return size, size
    return (size.height, size.width) if isinstance(size, Size) and size.height and size.width else None
