"""One picture of a mask setting: masks drawn on an image, and two heat maps of where they fall."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from openjepa.files import atomic_file, usage_error
from openjepa.files.marks import MARK
from openjepa.masking.coverage import Coverage
from openjepa.masking.settings import Masks, MaskSettings
from openjepa.reports import chart_style
from openjepa.reports.drawing import at_display_size, contact_sheet, draw_masks, stack

INCHES = 7.4


def mask_sheet(image: np.ndarray, settings: MaskSettings, drawn: Sequence[Masks], coverage: Coverage) -> np.ndarray:
    """The masks `drawn` of single images on one image uint8 [H, W, 3], then the coverage: uint8, on white."""
    grid_size, shown = settings.grid_size, at_display_size(image, settings.grid_size)
    columns = 4 if 2 * shown.shape[1] > shown.shape[0] else 8
    sheet = contact_sheet([draw_masks(shown, *mask[:2], grid_size) for mask in drawn], columns)
    title = f"{settings.strategy} masks on {grid_size[0]}x{grid_size[1]} patches"
    line = "bright: the context, all that the encoder sees · in colour: the targets, to be predicted · dark: neither"
    fractions = coverage.fractions
    figures = chart_style.heading(title, line, INCHES), chart_style.coverage_chart(fractions, INCHES)
    top, bottom = (chart_style.as_picture(figure, dpi=sheet.shape[1] / INCHES) for figure in figures)
    return stack([top, sheet, bottom])


def write_png(path: Path, picture: np.ndarray) -> None:
    """Write uint8 [H, W, 3]; raises UsageError if the file cannot be written."""
    with usage_error(path), atomic_file(path) as part:
        about = PngInfo()
        about.add_text("Software", MARK)
        Image.fromarray(picture).save(part, "PNG", pnginfo=about)
