"""`openjepa masks`: what a mask setting hides and what it asks for, before anything is trained with it."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
from typer import Option

from openjepa.commands.arguments.options import Overwrite, Settings
from openjepa.config import FIELDS
from openjepa.console import log
from openjepa.data.crops import Frame, resize_centre_crop
from openjepa.data.decoding.read import read_pixels
from openjepa.data.scenes.scenes import draw_scene
from openjepa.errors import BadImage, UsageError
from openjepa.files import check_output
from openjepa.files.path_arguments import checks_paths
from openjepa.masking.coverage import cover, first_masks, in_words
from openjepa.masking.settings import MaskSettings
from openjepa.recipe_settings import RECIPES, config_of
from openjepa.reports.masks import mask_sheet, write_png
from openjepa.runs.images import mask_settings
from openjepa.runs.planning.unused_settings import check_settings

MASK_SETTINGS = tuple(name for name, spec in FIELDS.items() if spec.metadata["panel"] == "Masks")
SETTINGS = Settings(("method", "image_size", "patch_size", *MASK_SETTINGS, "batch_size", "seed"))
DRAWN = 8
MOST_PATCHES = 2**26  # of the images of a batch together


@checks_paths
def masks(
    *,
    image: Annotated[Path | None, Option(help="Image to draw the masks on; without it a scene is drawn.")] = None,
    out: Annotated[Path, Option(help="PNG file to write.")] = Path("masks.png"),
    recipe: Annotated[str, Option(help=f"Named settings: {', '.join(RECIPES)}.")] = "laptop",
    overwrite: Overwrite = False,
    **settings: Annotated[Any, SETTINGS],
) -> Path:
    """Show masks: figures over 4,096 images, and a picture of eight masks with heat maps of where they fall.

    They are the masks of a run with these settings.

    Returns the picture. Raises UsageError.
    """
    settings, out = SETTINGS.given(settings), Path(out)
    if out.suffix != ".png":
        raise UsageError(f"{out} is not a PNG file: give a name that ends in .png")
    check_output(out, [image] if image else [], overwrite)
    config = config_of(recipe, settings)
    check_settings(config, settings)
    chosen, picture = mask_settings(config), open_picture(image, config.frame)
    if chosen is None:
        raise UsageError(f"--method {config.method} uses no masks: leave it out, or give another")
    check_batch(chosen, config.batch_size)
    coverage = cover(chosen, config.batch_size, config.seed)
    drawn = first_masks(chosen, DRAWN, config.batch_size, config.seed)
    write_png(out, mask_sheet(picture, chosen, drawn, coverage))
    rows, columns = chosen.grid_size
    log(f"{chosen.strategy} masks on {rows}x{columns} patches, over {coverage.images:,} sampled images")
    log(*(f"  {name:<12}{value}" for name, value in in_words(chosen, coverage)), f"picture: {out}")
    return out


def check_batch(chosen: MaskSettings, batch_size: int) -> None:
    """Raise UsageError for a batch whose masks, which are drawn together, would take too much memory."""
    rows, columns = chosen.grid_size
    most = MOST_PATCHES // (rows * columns * chosen.masks_per_image)
    if batch_size > most:
        raise UsageError(f"--batch-size {batch_size} is too large to draw its masks together: give {most:,} or less")


def open_picture(path: Path | None, frame: Frame) -> np.ndarray:
    """An image file, or a drawn scene without one, as the model sees it: uint8 [H, W, 3]. Raises UsageError."""
    if path is None:
        return draw_scene(0, 7, frame.size).image
    try:
        with open(path, "rb") as stream:
            return resize_centre_crop(read_pixels(stream), *frame)
    except (OSError, BadImage) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise UsageError(f"--image {path} cannot be read ({reason}): give one image file") from error
