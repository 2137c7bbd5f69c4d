"""`openjepa masks`: what a mask setting hides and asks for, before anything is trained with it."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from openjepa.commands.options import with_settings

if TYPE_CHECKING:
    import numpy as np

NAMES = ("image_size", "patch_size", "masks", "num_targets", "target_scale", "target_aspect_ratio", "context_scale")
NAMES += ("context_ratio", "batch_size", "seed")
DRAWN = 8


@partial(with_settings, names=NAMES)
def masks(
    *,
    image: Annotated[Path | None, Option(help="Image to draw the masks on; without it a scene is drawn.")] = None,
    out: Annotated[Path, Option(help="PNG file to write.")] = Path("masks.png"),
    **settings: Any,
) -> Path:
    """Show masks: what they come to over 4,096 images, and a picture of eight with heat maps of where they fall.

    They are the masks of a run with these settings; the batch size matters to --masks reference only.
    Returns the picture. Raises UsageError.
    """
    from openjepa.config import build_config, unknown
    from openjepa.console import log
    from openjepa.errors import UsageError
    from openjepa.masking.statistics import cover, first_masks, in_words
    from openjepa.reports.masks import mask_sheet, write_png
    from openjepa.runs.images import mask_settings
    from openjepa.runs.unused_settings import check_settings

    for name in settings.keys() - set(NAMES):
        raise UsageError(unknown("setting", name, NAMES))
    config = build_config({}, settings)
    check_settings(config, settings)
    chosen, picture = mask_settings(config), open_picture(image, config.size)
    coverage = cover(chosen, config.batch_size, config.seed)
    drawn = first_masks(chosen, DRAWN, config.batch_size, config.seed)
    write_png(Path(out), mask_sheet(picture, chosen, drawn, coverage))
    rows, columns = chosen.grid_size
    log(f"{chosen.strategy} masks on {rows}x{columns} patches, over {coverage.images:,} sampled images")
    log(*(f"  {name:<12}{value}" for name, value in in_words(chosen, coverage)), f"picture: {out}")
    return Path(out)


def open_picture(path: Path | None, size: tuple[int, int]) -> "np.ndarray":
    """An image file, or a drawn scene without one, as the model sees it: uint8 [*size, 3]. Raises UsageError."""
    from openjepa.data.crops import resize_centre_crop
    from openjepa.data.decoding.read import read_pixels
    from openjepa.data.scenes.scenes import draw_scene
    from openjepa.errors import BadImage, UsageError

    if path is None:
        return draw_scene(0, 7, size).image
    try:
        with open(path, "rb") as stream:
            return resize_centre_crop(read_pixels(stream), size)
    except (OSError, BadImage) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise UsageError(f"--image {path} cannot be read ({reason}): give one image file") from error
