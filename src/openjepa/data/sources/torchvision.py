"""Data sets by name that torchvision fetches: torchvision:NAME[:SPLIT]."""

import difflib
import inspect
import io
from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor

from openjepa.data.dataset import ImageFiles
from openjepa.data.sources.labels import labels_of
from openjepa.data.sources.registry import Progress
from openjepa.data.storage.array_files import ArrayRows
from openjepa.data.storage.names import Names
from openjepa.errors import UsageError
from openjepa.files import cache_folder
from openjepa.optional import require

PREFIX, TRAIN = "torchvision:", "train"


def takes(name: str) -> bool:
    return name.startswith(PREFIX)


def open(typed: str, progress: Progress = None) -> ImageFiles:
    """torchvision:NAME[:SPLIT], fetched into the cache the first time. Raises UsageError, also without a network."""
    _, name, *rest = typed.split(":")
    datasets = require("torchvision", "torchvision").datasets
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
    data = getattr(found, "data", None)  # what torchvision's classes call their content differs
    data = data.numpy() if isinstance(data, Tensor) else data
    if isinstance(data, np.ndarray) and data.ndim in (3, 4):
        rows: Any = ArrayRows(_same, data.transpose(0, 2, 3, 1) if data.shape[1:2] == (3,) else data)
    else:
        rows = PictureRows(found)
    targets: Any = next((getattr(found, key) for key in ("targets", "_labels", "labels") if hasattr(found, key)), [])
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

    def open(self, row: int) -> io.BytesIO:
        stream = io.BytesIO()
        self._found[int(row)][0].save(stream, "TIFF")  # holds every mode, and costs no compression
        stream.seek(0)
        return stream

    def stamp(self, row: int) -> tuple[int, ...]:
        return (len(self.open(row).getbuffer()), int(row))
