"""Data sets of the Hugging Face Hub by name: hf:NAME, hf-stream:NAME."""

import os
import re
from collections.abc import Iterator
from typing import Any

from openjepa.data.dataset import ImageFiles
from openjepa.data.sources.registry import Progress
from openjepa.data.sources.tables import Rows, image_column
from openjepa.data.storage.names import Names
from openjepa.data.storage.streaming import Sequential
from openjepa.errors import UsageError
from openjepa.files import cache_folder, write_text
from openjepa.optional import require

TRAIN = "train"
STREAMED_ROWS = 64  # at once


def takes(name: str) -> bool:
    return name.startswith(("hf:", "hf-stream:"))


def open(typed: str, progress: Progress = None) -> ImageFiles:
    """hf:NAME[:SPLIT], hf:NAME:CONFIG:SPLIT; hf-stream: the same, read from the Hub in order and not kept.

    The split is train unless one is named. Raises UsageError: no such data set, no images in it, no network.
    """
    match = re.fullmatch(r"hf(-stream)?:([\w.-]+(?:/[\w.-]+)?)(?::([^:]+))??(?::([^:]+))?", typed)
    if not match:
        raise UsageError(
            f"{typed} is not understood: write hf:NAME, hf:NAME:SPLIT or hf:NAME:CONFIG:SPLIT (hf:food101)"
        )
    streams, name, config, split = match.groups()
    found = _load(typed, name, config, split or TRAIN, bool(streams))
    if streams:
        return _streamed(typed, found, (name, config, split or TRAIN))
    rows = Rows([each["filename"] for each in found.cache_files], _image(typed, found), roots=_roots(name))
    return ImageFiles(typed, rows, rows.names(), *rows.labels())


def _roots(name: str) -> list[str]:
    """The folders in which the library may have put files that its rows name: its caches, or a local data set."""
    datasets = require("datasets", "datasets")
    caches = [str(datasets.config.HF_CACHE_HOME), str(datasets.config.HF_DATASETS_CACHE)]
    return [*caches, os.path.abspath(name)] if os.path.isdir(name) else caches


def _load(typed: str, name: str, config: str | None, split: str, streaming: bool) -> Any:
    datasets = require("datasets", "datasets")
    try:
        return datasets.load_dataset(_full_name(name), config, split=split, streaming=streaming)
    except (Exception, SystemExit) as error:  # the library raises nearly everything there is
        raise UsageError(_why_not(typed, name, error)) from error


def _full_name(name: str) -> str:
    """OWNER/NAME, which the library wants, of one of the old sets that the Hub also knows as NAME; kept for later."""
    if "/" in name:
        return name
    known = cache_folder("names", name)
    if not known.is_file():
        from huggingface_hub import HfApi

        found = HfApi(endpoint=os.environ.get("HF_ENDPOINT")).dataset_info(name).id
        write_text(known, found)
    return known.read_text()


def _why_not(typed: str, name: str, error: BaseException) -> str:
    reason = (str(error).strip() or type(error).__name__).split("\n")[0]
    if isinstance(error, ValueError) and not isinstance(error, OSError):
        return f"{typed} cannot be opened: {reason}"
    return (
        f"{typed} cannot be fetched ({reason}): check the name and the network; without a network give a folder that "
        f"was fetched elsewhere by hf download --repo-type dataset {name} --local-dir FOLDER, or saved by save_to_disk"
    )


def _image(typed: str, found: Any) -> str:
    column = image_column(found.features.arrow_schema)
    if column is None:
        raise UsageError(f"{typed} has no column of images: it has {', '.join(found.features)}")
    return column


def _streamed(typed: str, found: Any, key: tuple) -> ImageFiles:
    split = (found.info.splits or {}).get(key[2])
    if not split or not split.num_examples:
        raise UsageError(f"the Hub does not state how many images {typed} has: give hf: instead of hf-stream:")
    rows = Sequential(_stream_rows, typed, *key, _image(typed, found))
    return ImageFiles(typed, rows, Names.numbered(key[2], split.num_examples))


def _stream_rows(typed: str, name: str, config: str | None, split: str, column: str) -> Iterator[bytes]:
    import datasets

    found = _load(typed, name, config, split, True).select_columns([column])
    # Iterated by rows, the library would divide them among loader workers, while here each worker reads all.
    for batch in found.cast_column(column, datasets.Image(decode=False)).iter(batch_size=STREAMED_ROWS):
        for image in batch[column]:
            yield image["bytes"] or b""
