"""What is asked of `openjepa ensemble`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from openjepa.data.dataset import ImageDataset
from openjepa.data.decoding.pixel_format import PixelFormat
from openjepa.data.open import DataSource
from openjepa.device import choose_device, choose_precision
from openjepa.errors import UsageError
from openjepa.runs.images import count_workers, open_images, prepare_images


@dataclass(frozen=True)
class Request:
    """The keywords of `openjepa.ensemble`."""

    models: Sequence[str]
    how: str
    out: Path
    data: DataSource | None
    steps: Sequence[str]
    encoder: str
    width: int | None
    seed: int
    device: str
    precision: str
    workers: int | str
    max_skipped: float
    overwrite: bool

    @property
    def machine(self) -> tuple[torch.device, torch.dtype]:
        device = choose_device(self.device)
        return device, choose_precision(self.precision, device)

    @property
    def readers(self) -> int:
        return count_workers(self.workers, self.device)

    def images(self, read_as: PixelFormat) -> ImageDataset:
        """The images of --data, without labels. Raises UsageError where none are given."""
        if self.data is None:
            raise UsageError(f"--how {self.how} needs images to measure on: give --data")
        return open_images(self.data, read_as, self.max_skipped, labels=False)[0]

    def labelled(self, read_as: PixelFormat) -> ImageDataset:
        """The images of --data with their labels. Raises UsageError where none are given."""
        if self.data is None:
            raise UsageError(f"--how {self.how} needs labelled images to measure on: give --data")
        return prepare_images(self.data, self.readers, pixel_format=read_as, max_skipped=self.max_skipped)[0]

    def check_options(self, *allowed: str) -> None:
        """Raise UsageError for an option that has no meaning for this way."""
        given = {"steps": bool(self.steps), "encoder": self.encoder != "target", "width": self.width is not None}
        for name, is_given in given.items():
            if is_given and name not in allowed:
                raise UsageError(f"--{name} has no meaning for --how {self.how}: leave it out")
