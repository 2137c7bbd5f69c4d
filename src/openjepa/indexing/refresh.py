"""From the names of a model and of images to their index, up to date."""

import hashlib
import os
from pathlib import Path

from openjepa.console import log, pacing
from openjepa.data.open import Given, as_source
from openjepa.data.proportions import seen_lines
from openjepa.data.storage.storage import skipped_lines
from openjepa.data.summary import counted
from openjepa.encoder.feature_cache import model_hash
from openjepa.encoder.features import frame_of
from openjepa.files import cache_folder
from openjepa.files.lock import locked
from openjepa.indexing.build import Changes, update
from openjepa.indexing.label_columns import label_columns
from openjepa.indexing.open import lasting, open_store, opened_model
from openjepa.runs.checkpoints import Step
from openjepa.runs.images import check_skipped, open_images


def refreshed(
    out: Path | None,
    model: str,
    data: Given,
    labels: Path | None = None,
    step: Step = None,
    pooling: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    workers: int = 2,
    max_skipped: float = 1.0,
) -> Path:
    """Bring the index `out` up to date with images, or make it; without `out` it lies in the cache.

    Prints what was done, and returns the folder. Raises UsageError.
    """
    source = as_source(data)
    encoder = opened_model(model, step, device, precision, pooling)
    dataset, summary = open_images(source, encoder.pixel_format, max_skipped)
    found = label_columns(dataset, labels)
    log(*seen_lines(summary.sizes, frame_of(encoder)))
    key = f"{model_hash(encoder, arithmetic=False)} {lasting(str(source))}"
    out = out or cache_folder("indexes", hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:32])
    with locked(out):
        store = open_store(out, encoder, model, step, pooling, dataset, str(source))
        with pacing(f"indexing {dataset.source}", "images") as progress:
            changes = update(store, encoder, dataset, found, workers, progress)
        log(*skipped_lines(summary.skipped + changes.skipped))
        log(_line(changes, len(store), out))
    check_skipped(str(source), summary.skipped + changes.skipped, len(store), max_skipped)
    return out


def _line(changes: Changes, total: int, out: Path) -> str:
    parts = {name: getattr(changes, name) for name in ("added", "changed", "removed", "unchanged")}
    told = ", ".join(f"{count:,} {name}" for name, count in parts.items())
    return f"{os.fspath(out)}: {counted(total, 'image')} ({told}); {counted(len(changes.skipped), 'image')} left out"
