"""Data sets by name: hf:NAME from the Hugging Face Hub, torchvision:NAME from wherever torchvision gets them."""

import difflib
import inspect
import io
import os
import re
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import numpy as np

from openjepa.data.dataset import ImageFiles
from openjepa.data.sources.arrays import ArrayRows
from openjepa.data.sources.labels import labels_of
from openjepa.data.sources.names import Names
from openjepa.data.sources.streaming import Sequential
from openjepa.data.sources.tables import Rows, image_column
from openjepa.errors import UsageError
from openjepa.files import cache_folder, write_text

TRAIN = "train"
STREAMED_ROWS = 64  # at once


def open_hub(typed: str) -> ImageFiles:
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
    rows = Rows([each["filename"] for each in found.cache_files], _image(typed, found))
    return ImageFiles(typed, rows, rows.names(), *rows.labels())


def _load(typed: str, name: str, config: str | None, split: str, streaming: bool) -> Any:
    try:
        import datasets
    except ImportError as error:
        raise UsageError("hf: needs datasets: pip install 'openjepa[datasets]'") from error
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
        raise UsageError(f"the Hub does not say how many images {typed} has: give hf: instead of hf-stream:")
    rows = Sequential(_stream_rows, typed, *key, _image(typed, found))
    return ImageFiles(typed, rows, Names.numbered(key[2], split.num_examples))


def _stream_rows(typed: str, name: str, config: str | None, split: str, column: str) -> Iterator[bytes]:
    import datasets

    found = _load(typed, name, config, split, True).select_columns([column])
    # Row by row, the library would share the rows out among loader workers, each of which reads them all here.
    for batch in found.cast_column(column, datasets.Image(decode=False)).iter(batch_size=STREAMED_ROWS):
        for image in batch[column]:
            yield image["bytes"] or b""


def open_torchvision(typed: str) -> ImageFiles:
    """torchvision:NAME[:SPLIT], fetched into the cache the first time. Raises UsageError, also without a network."""
    _, name, *rest = typed.split(":")
    try:
        from torchvision import datasets
    except ImportError as error:
        raise UsageError("torchvision: needs torchvision: pip install 'openjepa[torchvision]'") from error
    known = [each for each in datasets.__all__ if "download" in inspect.signature(getattr(datasets, each)).parameters]
    if name not in known or len(rest) > 1:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
        hint = f"did you mean torchvision:{near[0]}?" if near else "write torchvision:NAME or torchvision:NAME:SPLIT"
        raise UsageError(f"{typed} is no set of images that torchvision can fetch: {hint}")
    found = _fetched(getattr(datasets, name), typed, rest[0] if rest else TRAIN)
    return _torchvision_files(found, typed)


def _fetched(kind: Callable[..., Any], typed: str, split: str) -> Any:
    parameters = inspect.signature(kind).parameters
    settings: dict[str, Any] = {"split": split} if "split" in parameters else {}
    if "train" in parameters:
        settings = {"train": split == TRAIN}
    if split != TRAIN and (not settings or ("train" in parameters and split != "test")):
        raise UsageError(f"{typed} has no part {split}: it has {'train and test' if settings else 'one part only'}")
    try:
        return kind(str(cache_folder("torchvision")), download=True, **settings)
    except (ValueError, TypeError) as error:
        raise UsageError(f"{typed} cannot be opened: {str(error).splitlines()[0]}") from error
    except (OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(
            f"{typed} cannot be fetched ({reason}): check the network, or unpack it into {cache_folder('torchvision')}"
        ) from error


def _torchvision_files(found: Any, typed: str) -> ImageFiles:
    names = Names.numbered(typed.split(":")[1], len(found))
    data = getattr(found, "data", None)
    data = data.numpy() if hasattr(data, "numpy") else data
    if isinstance(data, np.ndarray) and data.ndim in (3, 4):
        rows: Any = ArrayRows(_same, data.transpose(0, 2, 3, 1) if data.shape[1:2] == (3,) else data)
    else:
        rows = PictureRows(found)
    targets = next((getattr(found, key) for key in ("targets", "_labels", "labels") if hasattr(found, key)), [])
    values = np.asarray(targets).ravel().tolist() if len(targets) == len(found) else []
    classes = getattr(found, "classes", None)
    return ImageFiles(typed, rows, names, *labels_of([("class", values, list(map(str, classes)) if classes else None)]))


def _same(array: np.ndarray) -> np.ndarray:
    return array


class PictureRows:
    """Pictures that a torchvision data set gives by number."""

    window = 0

    def __init__(self, found: Any) -> None:
        self._found = found

    def open(self, row: int) -> BinaryIO:
        stream = io.BytesIO()
        self._found[int(row)][0].save(stream, "TIFF")  # holds every mode, and costs no compression
        stream.seek(0)
        return stream

    def stamp(self, row: int) -> tuple[int, ...]:
        return (len(self.open(row).getbuffer()), int(row))
