"""From the names of a model and of images to their index, up to date."""

import contextlib
import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from openjepa.console import counting, log, pacing
from openjepa.data.dataset import ImageDataset, ImageFiles
from openjepa.data.decoding.pixel_format import PixelFormat
from openjepa.data.open import Given, as_source, open_dataset
from openjepa.data.proportions import seen_lines
from openjepa.data.storage.storage import Skipped, is_lost, skipped_lines
from openjepa.data.summary import counted, inspect_dataset
from openjepa.encoder.feature_cache import model_hash
from openjepa.encoder.features import frame_of
from openjepa.errors import UsageError
from openjepa.files import cache_folder
from openjepa.files.lock import locked
from openjepa.indexing.build import Changes, update
from openjepa.indexing.engines.shards import Engine, in_this_process
from openjepa.indexing.label_columns import label_columns
from openjepa.indexing.open import lasting, open_store, opened_model
from openjepa.indexing.store import Store, holds_index, table_folder
from openjepa.ranks import on_rank_zero
from openjepa.runs.checkpoints import Step
from openjepa.runs.images import check_skipped


def refreshed(
    out: Path | None,
    model: str,
    data: Given,
    labels: Path | None = None,
    step: Step = None,
    pooling: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    engine: Engine | None = None,
    max_skipped: float = 1.0,
    patches: bool = False,
) -> Path:
    """Bring the index `out` up to date with images, or make it; without `out` it lies in the cache.

    engine: where images are embedded, by default here, with two processes that read. With `patches` it keeps patch
    tokens, now and whenever it is brought up to date.

    Prints what was done, and returns the folder. Raises UsageError.
    """
    source = as_source(data)
    encoder = opened_model(model, step, device, precision, pooling)
    dataset, skipped = _opened(source, encoder.pixel_format)
    found = label_columns(dataset, labels)
    key = f"{model_hash(encoder, arithmetic=False)} {lasting(str(source))}"
    out = out or cache_folder("indexes", hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:32])
    with locked(out), _no_empty_index(out):
        store = _for_all(out, lambda: open_store(out, encoder, model, step, pooling, dataset, str(source), patches))
        with pacing(f"indexing {dataset.source}", "images") as progress:
            changes = update(store, encoder, dataset, found, engine or in_this_process(2), progress)
        skipped += changes.skipped
        if not len(store):
            raise UsageError(_nothing(str(source), skipped))
        log(*seen_lines(_sizes(store), frame_of(encoder)), *skipped_lines(skipped))
        log(_line(changes, len(store), out))
    check_skipped(str(source), skipped, len(store), max_skipped)
    return out


def _for_all(out: Path, opened: Callable[[], Store]) -> Store:
    """The table that rank 0 makes or opens, opened by every process."""
    stores: list[Store] = []
    on_rank_zero(lambda: stores.append(opened()))
    return stores[0] if stores else Store.open(out)


@contextlib.contextmanager
def _no_empty_index(out: Path) -> Iterator[None]:
    """After an error, as on a full disk, a new index without rows is deleted; one with rows can be continued."""
    new = not holds_index(out)
    try:
        yield
    except BaseException:
        if new and not _has_rows(out):
            shutil.rmtree(table_folder(out), ignore_errors=True)
        raise


def _has_rows(out: Path) -> bool:
    with contextlib.suppress(UsageError):
        return bool(len(Store.open(out)))
    return False


def _opened(source: Given, pixel_format: PixelFormat | None) -> tuple[ImageDataset, Skipped]:
    """The images of a source, and (path, reason) of other files that lie there.

    Headers are read only where they decide how images are read, so that an update reads no image that is unchanged.
    """
    with counting(f"opening {source}") as progress:
        dataset = open_dataset(source, progress)
    if isinstance(dataset, ImageFiles) and pixel_format and pixel_format.pages != "images":
        return dataset.read_as(pixel_format), [*dataset.skipped]
    with counting(f"looking at {dataset.source}") as progress:
        dataset, summary = inspect_dataset(dataset, progress, pixel_format)
    return dataset, summary.skipped


def _nothing(source: str, skipped: Skipped) -> str:
    tried = [(path, reason) for path, reason in skipped if is_lost(reason)]
    example = f" ({len(tried):,} tried; {tried[0][0]}: {tried[0][1]})" if tried else ""
    return f"no image in {source} can be read{example}"


def _sizes(store: Store) -> list[tuple[int, int, int]]:
    """(width, height, images) of an index."""
    sides = store.read(["width", "height"])
    counted_sizes = Counter(zip(sides["width"].to_pylist(), sides["height"].to_pylist(), strict=True))
    return [(*size, count) for size, count in counted_sizes.items()]


def _line(changes: Changes, total: int, out: Path) -> str:
    parts = {name: getattr(changes, name) for name in ("added", "changed", "removed", "unchanged")}
    told = ", ".join(f"{count:,} {name}" for name, count in parts.items())
    return f"{os.fspath(out)}: {counted(total, 'image')} ({told}); {counted(len(changes.skipped), 'image')} left out"
