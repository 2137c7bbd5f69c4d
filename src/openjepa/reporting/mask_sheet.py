"""One picture of a mask setting: masks drawn on an image, and two heat maps of where they fall."""

from collections.abc import Sequence

import numpy as np

from openjepa.core.mask_settings import Masks, MaskSettings
from openjepa.reporting import charts
from openjepa.reporting.coverage import Coverage
from openjepa.reporting.pictures import at_display_size, contact_sheet, draw_masks, stack

INCHES = 7.4


def mask_sheet(
    image: np.ndarray, settings: MaskSettings, drawn: Sequence[Masks], coverage: Coverage, columns: int = 4
) -> np.ndarray:
    """The masks `drawn` of single images on one image uint8 [H, W, 3], then the coverage: uint8, on white."""
    rows_and_columns, size = settings.grid_size, at_display_size(image, settings.grid_size)
    sheet = contact_sheet([draw_masks(size, *mask[:2], rows_and_columns) for mask in drawn], columns)
    dpi = sheet.shape[1] / INCHES
    title = f"{settings.strategy} masks on {'x'.join(map(str, rows_and_columns))} patches"
    line = "bright: the context, all that the encoder sees · in colour: the targets, to be predicted · dark: neither"
    shares = {name: coverage.shares(name) for name in ("context", "target")}
    figures = charts.heading(title, line, INCHES), charts.coverage_chart(shares, INCHES)
    top, bottom = (charts.as_picture(figure, dpi) for figure in figures)
    return stack([top, sheet, bottom])
