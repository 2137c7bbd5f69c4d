"""Pictures from and to files, for the verbs that take or write one."""

from pathlib import Path

import numpy as np
from PIL import Image

from openjepa.data.crops import resize_centre_crop
from openjepa.data.pixels import read_pixels
from openjepa.data.scenes import draw_scene
from openjepa.errors import BadImage, UsageError


def picture_of(path: Path | None, size: tuple[int, int]) -> np.ndarray:
    """An image file, or a drawn scene without one, as the model sees it: uint8 [*size, 3]. Raises UsageError."""
    if path is None:
        return draw_scene(0, 7, size).image
    try:
        with open(path, "rb") as stream:
            return resize_centre_crop(read_pixels(stream), size)
    except (OSError, BadImage) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise UsageError(f"--image {path} cannot be read ({reason}): give one image file") from error


def write_png(path: Path, picture: np.ndarray) -> None:
    """Write uint8 [H, W, 3]; raises UsageError unless the name ends in .png and the file can be written."""
    if path.suffix != ".png":
        raise UsageError(f"{path} is not a PNG file: give a name that ends in .png")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path, "PNG")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error}") from error
