"""`--probe DATA`: labelled images for the probes during a run, where its own images have no labels, or others."""

from pathlib import Path

import numpy as np

from openjepa.config import Config
from openjepa.console import log
from openjepa.data.dataset import ImageDataset, fingerprint
from openjepa.data.decoding.pixel_format import PixelFormat
from openjepa.data.open import DataSource
from openjepa.errors import UsageError
from openjepa.runs.images import open_images
from openjepa.runs.settings import StoredProbe
from openjepa.training.distributed import check_alike
from openjepa.training.monitoring.online_probe import LEAST, labelled

LABELS = "give one folder a class, or a list with a column of labels"


def open_probe(source: DataSource | None, config: Config, pixel_format: PixelFormat) -> ImageDataset | None:
    """The labelled images of `source`, read as those of the run; None without a source.

    Raises UsageError where they have no labels, too few of them, or one class, and for channels that do not fit.
    """
    if source is None:
        return None
    dataset, _ = open_images(source, pixel_format, config.max_skipped)
    check_alike("images of --probe", fingerprint(dataset)[:16], "give every process the same --probe")
    if not dataset.labels:
        raise UsageError(f"--probe {source} has no labels: {LABELS}")
    name, images = next(iter(dataset.labels)), labelled(dataset)
    found = len(np.unique(images.labels[name]))
    if len(images) < LEAST or found < 2:
        raise UsageError(
            f"--probe {source} has {len(images):,} labelled images of {found:,} classes: give at least {LEAST} of two"
        )
    log(f"probing {name} on {len(images):,} images of {source}, {found:,} classes")
    return images


def stored_probe(source: DataSource | None, images: ImageDataset | None) -> StoredProbe | None:
    """What config.json records of the images of the probe."""
    if source is None or images is None:
        return None
    return StoredProbe(data=str(source), paths=fingerprint(images), from_python=not isinstance(source, str))


def check_same_probe(out: Path, stored: StoredProbe | None, source: DataSource | None) -> None:
    """Raise UsageError unless a run in `out` is resumed with images for the probe where it was started with some."""
    if stored and source is None:
        raise UsageError(f"{out} was started with --probe {stored.data}: give it again to resume")
    if source is not None and not stored:
        raise UsageError(f"{out} was started without --probe: leave it out to resume")


def check_same_probe_images(out: Path, stored: StoredProbe | None, images: ImageDataset | None) -> None:
    """Raise UsageError where the images for the probe are others than those that a run was started with."""
    if stored and images is not None and fingerprint(images) != stored.paths:
        raise UsageError(f"the images of --probe are others than {out} was started with: give {stored.data} as it was")
