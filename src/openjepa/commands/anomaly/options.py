"""Options that the commands of `openjepa anomaly` share."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

DetectorFolder = Annotated[Path, Argument(help="Folder that openjepa anomaly fit wrote.", show_default=False)]
Page = Annotated[Path | None, Option(help="File to write a page with pictures to (.html).", show_default=False)]
Moved = Annotated[
    str | None, Option(help="The model of the detector, where it is no longer where it was.", show_default=False)
]
