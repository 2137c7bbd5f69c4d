"""Arrays in .npy, .npz and HDF5 files: listed without their values, which are read as they are needed."""

import io
import math
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

import numpy as np

from openjepa.data.decoding.npy import npy_layout
from openjepa.data.storage.hdf5 import Stored, list_hdf5, read_hdf5, read_hdf5_row
from openjepa.data.storage.storage import Storage
from openjepa.errors import BadImage, UsageError
from openjepa.optional import require
from openjepa.safety.limited import Child, ReaderFailed, run_limited
from openjepa.safety.limits import MAX_UNPACKED_RATIO, reader_seconds, unpacked_bytes


@dataclass(frozen=True)
class ArrayInFile:
    """An array whose values have not been read; `rows` gives them as images, `values` whole."""

    shape: tuple[int, ...]
    dtype: np.dtype
    rows: Callable[[], Storage]
    values: Callable[[], np.ndarray]


class ArrayRows:
    """Image i is row i of the array that `opened` gives, which each process calls for itself."""

    window = 0

    def __init__(self, opened: Callable[..., np.ndarray], *arguments: object) -> None:
        self._opened, self._arguments = opened, arguments
        self._array: np.ndarray | None = None

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_array": None}

    @property
    def array(self) -> np.ndarray:
        if self._array is None:
            self._array = self._opened(*self._arguments)
        return self._array

    def open(self, row: int) -> BinaryIO:
        return as_npy(self.array[int(row)])

    def stamp(self, row: int) -> tuple[int, ...]:
        return (math.prod(self.array.shape[1:]) * self.array.dtype.itemsize,)


class Hdf5Rows:
    """Image i is row i of a data set in an HDF5 file, read by a child process of each process."""

    window = 0

    def __init__(self, file: str, name: str, row_bytes: int) -> None:
        self._file, self._name, self._row_bytes, self._child = file, name, row_bytes, Child()

    def open(self, row: int) -> BinaryIO:
        try:
            return as_npy(self._child.call(read_hdf5_row, self._file, self._name, int(row)))
        except ReaderFailed as error:
            raise BadImage(f"damaged ({error})") from error

    def stamp(self, row: int) -> tuple[int, ...]:
        return (self._row_bytes,)


def as_npy(image: np.ndarray) -> BinaryIO:
    stream = io.BytesIO()
    np.save(stream, np.ascontiguousarray(image), allow_pickle=False)
    stream.seek(0)
    return stream


def _check_size(shape: tuple[int, ...], dtype: np.dtype, packed: int) -> None:
    """Raises UsageError for a compressed array that is larger than may come out of `packed` bytes."""
    size, most = math.prod(shape) * dtype.itemsize, unpacked_bytes(packed)
    if size > most:
        raise UsageError(
            f"an array {list(shape)} of {dtype} takes {size:,} bytes, of a file of {packed:,}, and at most {most:,} "
            f"are read; {MAX_UNPACKED_RATIO.variable} raises the limit"
        )


def _read_npy(file: str) -> dict[str, ArrayInFile]:
    array = partial(_mapped, file)
    found = array()
    return {"": ArrayInFile(found.shape, found.dtype, partial(ArrayRows, array), array)}


def _mapped(file: str) -> np.ndarray:
    """The array of a .npy file, read as it is needed."""
    with open(file, "rb") as stream:
        layout = npy_layout(stream)
        there = stream.seek(0, io.SEEK_END) - layout.start
    if there < layout.bytes:
        raise BadImage("truncated")
    order = "C" if layout.rows_first else "F"
    if not layout.bytes:
        return np.empty(layout.shape, layout.dtype)
    return np.memmap(file, layout.dtype, "r", layout.start, layout.shape, order)  # type: ignore[call-overload]


def _read_npz(file: str) -> dict[str, ArrayInFile]:
    found = {}
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            with archive.open(info) as stream:
                try:
                    layout = npy_layout(stream)
                except BadImage:  # texts and objects are no images and no labels
                    continue
            array = partial(_from_npz, file, info.filename)
            name = info.filename.removesuffix(".npy")
            found[name] = ArrayInFile(layout.shape, layout.dtype, partial(_rows_in_memory, array), array)
    return found


def _rows_in_memory(array: Callable[[], np.ndarray]) -> ArrayRows:
    rows = ArrayRows(array)
    assert len(rows.array)  # read now, so that damage shows when the file is opened
    return rows


def _from_npz(file: str, member: str) -> np.ndarray:
    with zipfile.ZipFile(file) as archive, archive.open(member) as stream:
        layout = npy_layout(stream)
        _check_size(layout.shape, layout.dtype, os.path.getsize(file))
        content = stream.read(layout.bytes)
    if len(content) < layout.bytes:
        raise BadImage("truncated")
    array = np.frombuffer(content, layout.dtype)
    return array.reshape(layout.shape, order="C" if layout.rows_first else "F")


def _read_hdf5(file: str) -> dict[str, ArrayInFile]:
    require("h5py", "hdf5")
    size = os.path.getsize(file)
    stored = run_limited(list_hdf5, file, seconds=reader_seconds(size))
    return {
        name: ArrayInFile(
            each.shape,
            np.dtype(each.dtype),
            partial(_hdf5_rows, file, name, each, size),
            partial(_hdf5_values, file, name, each, size),
        )
        for name, each in stored.items()
    }


def _hdf5_rows(file: str, name: str, stored: Stored, size: int) -> Storage:
    """The images of a data set, mapped where their values lie in the file as they are."""
    dtype = np.dtype(stored.dtype)
    row_bytes = math.prod(stored.shape[1:]) * dtype.itemsize
    if stored.elsewhere:
        raise UsageError(f"{name} has its values in other files, which are not opened: copy them into one file")
    if 0 <= stored.start <= size - stored.shape[0] * row_bytes and row_bytes:
        return ArrayRows(_mapped_stretch, file, stored.start, stored.shape, dtype)
    _check_size(stored.shape, dtype, size)
    return Hdf5Rows(file, name, row_bytes)


def _hdf5_values(file: str, name: str, stored: Stored, size: int) -> np.ndarray:
    if stored.elsewhere:
        raise UsageError(f"{name} has its values in other files, which are not opened: copy them into one file")
    _check_size(stored.shape, np.dtype(stored.dtype), size)
    return run_limited(read_hdf5, file, name, seconds=reader_seconds(size))


def _mapped_stretch(file: str, start: int, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    return np.memmap(file, dtype, "r", start, shape)


READERS: dict[str, Callable[[str], dict[str, ArrayInFile]]] = {
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".h5": _read_hdf5,
    ".hdf5": _read_hdf5,
}
