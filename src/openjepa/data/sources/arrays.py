"""Images in one array [N, H, W] or [N, H, W, C]: .npy, .npz and HDF5 files."""

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from openjepa.data.dataset import ImageFiles
from openjepa.data.sources.labels import Labels, labels_of
from openjepa.data.sources.registry import Progress
from openjepa.data.storage.names import Names, printable
from openjepa.data.storage.remote import is_remote
from openjepa.data.storage.split_path import locate
from openjepa.errors import UsageError
from openjepa.optional import require

ARRAYS = (".npy", ".npz", ".h5", ".hdf5")
DTYPE_KINDS = "uif"


def takes(name: str) -> bool:
    return locate(name).suffix in ARRAYS and not is_remote(name)


def open(name: str, progress: Progress = None) -> ImageFiles:
    """The images of an array, as FILE.npy, FILE.npz/NAME or FILE.h5/GROUP/NAME. Raises UsageError."""
    place = locate(name)
    rows, array, labels = open_arrays(place.file, place.inside)
    return ImageFiles(place.shown, rows, Names.numbered(array or Path(place.file).stem, len(rows.array)), *labels)


class ArrayRows:
    """Image i is row i of the array that `opened` gives, which each process calls for itself."""

    window = 0

    def __init__(self, opened: Callable[..., Any], *arguments: object) -> None:
        self._opened, self._arguments = opened, arguments
        self._handle: tuple[int | None, Any] | None = None

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_handle": None}

    @property
    def array(self) -> Any:
        if self._handle and self._handle[0] in (os.getpid(), None):
            return self._handle[1]
        array = self._opened(*self._arguments)
        # An array in memory can be used after a fork, an open HDF5 file cannot.
        self._handle = None if isinstance(array, np.ndarray) else os.getpid(), array
        return array

    def open(self, row: int) -> BinaryIO:
        stream = io.BytesIO()
        np.save(stream, np.ascontiguousarray(self.array[int(row)]), allow_pickle=False)
        stream.seek(0)
        return stream

    def stamp(self, row: int) -> tuple[int, ...]:
        return (int(np.prod(self.array.shape[1:])) * self.array.dtype.itemsize,)


def open_arrays(file: str, inside: str) -> tuple[ArrayRows, str, Labels]:
    """The images in a file of arrays, what to call them, and the labels in arrays beside; `inside` names an array.

    Raises UsageError if there is none, more than one and none is named, or the file is damaged.
    """
    try:
        opened, arrays = READERS[os.path.splitext(file)[1].lower()](file)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        if isinstance(error, UsageError):
            raise
        reason = str(error).split("\n")[0]
        raise UsageError(f"{printable(file)} is not a readable file of arrays ({reason}): write it again") from error
    name = _chosen(file, inside, arrays)
    prefix = name.rpartition("_")[0]
    labels = labels_of(
        (other.removeprefix(prefix + "_"), np.ravel(arrays[other]).tolist(), None)
        for other in arrays
        if _is_label(arrays[other], arrays[name].shape[0]) and other.startswith(prefix)
    )
    return ArrayRows(opened, file, name), name, labels


def _chosen(file: str, inside: str, arrays: dict) -> str:
    shapes = {name: tuple(array.shape) for name, array in arrays.items()}
    images = [name for name, array in arrays.items() if array.ndim in (3, 4) and array.dtype.kind in DTYPE_KINDS]
    fitting = [name for name in images if not inside or name == inside]
    shown, named = printable(file), ", ".join(f"{name} {shape}" for name, shape in list(shapes.items())[:10])
    if not fitting:
        what = f"no array of images called {printable(inside)}" if inside else "no array [N, H, W] or [N, H, W, C]"
        raise UsageError(f"{shown} has {what}: it holds {named or 'nothing'}")
    if len(fitting) > 1:
        raise UsageError(f"{shown} holds {', '.join(fitting)}: name one, e.g. {shown}/{fitting[0]}")
    if not arrays[fitting[0]].shape[0]:
        raise UsageError(f"no images in {shown}: {fitting[0]} is {shapes[fitting[0]]}")
    return fitting[0]


def _is_label(array: Any, count: int) -> bool:
    return array.shape in ((count,), (count, 1)) and array.dtype.kind in "uib"


def _read_npy(file: str) -> tuple[Callable, dict]:
    return _npy, {"": _npy(file)}


def _npy(file: str, _name: str = "") -> np.ndarray:
    return np.load(file, mmap_mode="r", allow_pickle=False)


def _read_npz(file: str) -> tuple[Callable, dict]:
    with np.load(file, allow_pickle=False) as arrays:
        return _npz, {name: arrays[name] for name in arrays.files}


def _npz(file: str, name: str) -> np.ndarray:
    with np.load(file, allow_pickle=False) as arrays:
        return arrays[name]


def _read_hdf5(file: str) -> tuple[Callable, dict]:
    found: dict[str, Any] = {}

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item

    h5py = require("h5py", "hdf5")
    h5py.File(file, "r").visititems(note)
    return _hdf5, found


def _hdf5(file: str, name: str) -> Any:
    return require("h5py", "hdf5").File(file, "r")[name]


READERS = {".npy": _read_npy, ".npz": _read_npz, ".h5": _read_hdf5, ".hdf5": _read_hdf5}
