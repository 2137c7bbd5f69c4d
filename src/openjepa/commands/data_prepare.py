"""`openjepa data prepare SRC DST --size 256`: a smaller copy of the images, which trains faster than large files do."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from openjepa.commands.options import Data, SkippedFraction
from openjepa.config import MAX_SKIPPED


def data_prepare(
    src: Data,
    dst: Annotated[Path, Argument(help="Folder to write to.", show_default=False)],
    *,
    size: Annotated[int, Option(help="Pixels of the shorter side; smaller images stay as they are.")] = 256,
    to: Annotated[str, Option(help="shards (WebDataset) or parquet (Hugging Face).")] = "shards",
    format: Annotated[str, Option(help="Of 8-bit pictures that are shrunk: jpg, or png for no loss.")] = "jpg",
    quality: Annotated[int, Option(help="Of JPEG, 1 to 100.")] = 95,
    per_shard: Annotated[int, Option(help="Images in a file.")] = 1000,
    channels: Annotated[int | None, Option(help="Take the images of so many channels; else the images decide.")] = None,
    pages: Annotated[str, Option(help="Of files with several images: first, channels or images.")] = "first",
    workers: Annotated[int, Option(help="Processes that shrink images; 0 for none.")] = 2,
    max_skipped: SkippedFraction = MAX_SKIPPED,
) -> Path:
    """Write a copy of the images with their shorter side at SIZE pixels, labels kept, in a few large files.

    The same command goes on after it was stopped, by whatever. Images that cannot be read are listed in skipped.txt.
    Returns the folder, which every command takes as images. Raises UsageError.
    """
    from openjepa.console import counting, log
    from openjepa.data.prepare import Shrinking, write_missing
    from openjepa.errors import UsageError
    from openjepa.runs.images import LISTED, check_choice, check_skipped, check_workers, open_images, write_skipped
    from openjepa.runs.prepared_folder import check_numbers, claim, size_in_words

    src, dst = str(src), Path(dst)
    check_numbers(size, to, format, quality, per_shard)
    check_choice(channels, pages)
    check_workers(workers)
    dataset, summary = open_images(src, max_skipped=max_skipped, channels=channels, pages=pages)
    shrinking = Shrinking(dataset, dst, size, to, format, quality, per_shard)
    there = claim(shrinking, src)
    if there:
        log(f"{there:,} of {len(shrinking):,} files are there already")
    try:
        with counting(f"shrinking {src}") as progress:
            write_missing(shrinking, workers, progress)
        unread = shrinking.skipped()
        skipped = summary.skipped + unread
        write_skipped(dst / LISTED, skipped)
    except OSError as error:
        raise UsageError(f"cannot write {dst}: {error}; make room, and give the same command again") from error
    except KeyboardInterrupt:
        log("stopped; the files that are finished are kept: give the same command again to go on")
        raise
    check_skipped(src, skipped, len(dataset) - len(unread), max_skipped, str(dst / LISTED))
    log(f"{len(dataset) - len(unread):,} images in {dst}: {size_in_words(shrinking)}; {len(skipped):,} files skipped")
    return dst
