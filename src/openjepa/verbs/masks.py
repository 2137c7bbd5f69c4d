"""`openjepa masks`: what a mask setting hides and asks for, before anything is trained with it."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

from typer import Option

from openjepa.verbs.options import with_settings

NAMES = ("image_size", "patch_size", "masks", "num_targets", "target_scale", "target_aspect", "context_scale")
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
    from openjepa.errors import UsageError
    from openjepa.reporting.coverage import cover, first_masks, in_words
    from openjepa.reporting.mask_sheet import mask_sheet
    from openjepa.verbs.effects import check_settings
    from openjepa.verbs.picture_files import picture_of, write_png
    from openjepa.verbs.prepare import mask_settings
    from openjepa.verbs.talk import say

    for name in settings.keys() - set(NAMES):
        raise UsageError(unknown("setting", name, NAMES))
    config = build_config({}, settings)
    check_settings(config, settings)
    chosen, picture = mask_settings(config), picture_of(image, config.size)
    coverage = cover(chosen, config.batch_size, config.seed)
    drawn = first_masks(chosen, DRAWN, config.batch_size, config.seed)
    write_png(Path(out), mask_sheet(picture, chosen, drawn, coverage))
    rows, columns = chosen.grid_size
    say(f"{chosen.strategy} masks on {rows}x{columns} patches, over {coverage.images:,} sampled images")
    say(*(f"  {name:<12}{value}" for name, value in in_words(chosen, coverage)), f"picture: {out}")
    return Path(out)
