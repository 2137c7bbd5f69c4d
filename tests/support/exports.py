"""A source written in an export format and opened again."""

from pathlib import Path

from openjepa.interop.formats.registry import FORMATS, Forward, Options
from openjepa.interop.loaded_weights import Source


def export_to(
    name: str, folder: Path, source: Source, which: str = "target", predictor: bool = False, half: bool = False
) -> Forward:
    """Write a source into a folder, made if it is not there; what the other library makes of pixels."""
    folder.mkdir(exist_ok=True)
    options = Options(which, predictor, half)
    writer = next(each for each in FORMATS if each.name == name).writer()
    writer.write(folder, source, options)
    return writer.reopen(folder, options, source)
