"""`openjepa data prepare SRC DST --size 256`: a smaller copy of the images, which is faster to train on."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from openjepa.commands.arguments.options import Channels, DataName, Pages, SkippedFraction, Workers
from openjepa.config import MAX_SKIPPED
from openjepa.console import counting, log
from openjepa.data.prepare import FILE, FORMATS, SHARD_SUFFIXES, Shrinking, write_missing
from openjepa.data.storage.storage import Skipped
from openjepa.data.summary import counted
from openjepa.errors import UsageError, option, unknown
from openjepa.files import check_can_write, check_outside, usage_error
from openjepa.files.lock import locked
from openjepa.files.path_arguments import checks_paths
from openjepa.files.temporary import remove_leftovers
from openjepa.runs.images import (
    LISTED,
    check_choice,
    check_skipped,
    count_workers,
    open_images,
    write_skipped,
)


@checks_paths
def data_prepare(
    src: DataName,
    dst: Annotated[Path, Argument(help="Folder to write to.", show_default=False)],
    *,
    size: Annotated[int, Option(help="Pixels of the shorter side; smaller images stay as they are.")] = 256,
    to: Annotated[str, Option(help="shards (WebDataset) or parquet (Hugging Face).")] = "shards",
    format: Annotated[str, Option(help="Of 8-bit pictures that are shrunk: jpg, or png for no loss.")] = "jpg",
    quality: Annotated[int, Option(help="Of JPEG, 1 to 100.")] = 95,
    per_shard: Annotated[int, Option(help="Images in a file.")] = 1000,
    channels: Channels = None,
    pages: Pages = "first",
    workers: Workers = "auto",
    max_skipped: SkippedFraction = MAX_SKIPPED,
) -> Path:
    """Write a copy of the images with their shorter side at SIZE pixels, labels kept, in a few large files.

    The same command continues a copy that was interrupted. Images that cannot be read are listed in skipped.txt.

    Returns the folder, which every command takes as images. Raises UsageError.
    """
    src, dst = str(src), Path(dst)
    _check_numbers(size, to, format, quality, per_shard)
    check_choice(channels, pages)
    readers = count_workers(workers)
    check_outside(dst, [src])
    check_can_write(dst / FILE)
    dataset, summary = open_images(src, max_skipped=max_skipped, channels=channels, pages=pages)
    shrinking = Shrinking(dataset, dst, size, to, format, quality, per_shard)
    with locked(dst, any_name=True):
        unread = _write(shrinking, src, readers)
        skipped = summary.skipped + unread
        with usage_error(dst):
            write_skipped(dst / LISTED, skipped)
    check_skipped(src, skipped, len(dataset) - len(unread), max_skipped, str(dst / LISTED))
    size_written = f"{counted(len(shrinking), 'file')}, {shrinking.bytes_written() / 2**20:,.1f} MiB"
    log(f"{len(dataset) - len(unread):,} images in {dst}: {size_written}; {counted(len(skipped), 'file')} skipped")
    return dst


def _write(shrinking: Shrinking, src: str, workers: int) -> Skipped:
    """Write the files that are not there yet; gives the images that all of them have left out."""
    there = shrinking.claim(src)
    remove_leftovers(shrinking.folder)
    if there:
        log(f"{there:,} of {len(shrinking):,} files are there already")
    try:
        with counting(f"shrinking {src}") as progress:
            write_missing(shrinking, workers, progress)
    except OSError as error:
        raise UsageError(
            f"cannot write {shrinking.folder}: {error}; make room, and give the same command again"
        ) from error
    except KeyboardInterrupt:
        log("stopped; finished files are kept: give the same command again to continue")
        raise
    return shrinking.skipped()


def _check_numbers(size: int, to: str, format_: str, quality: int, per_shard: int) -> None:
    """Raise UsageError for a setting that is not possible."""
    for name, value, choices in (("to", to, tuple(SHARD_SUFFIXES)), ("format", format_, FORMATS)):
        if value not in choices:
            raise UsageError(unknown(option(name), value, choices))
    for name, number, good, allowed in (
        ("size", size, size >= 1, "1 or more"),
        ("quality", quality, 1 <= quality <= 100, "1 to 100"),
        ("per_shard", per_shard, per_shard >= 1, "1 or more"),
    ):
        if not good:
            raise UsageError(f"{option(name)} {number} is not possible: give {allowed}")
