"""Data sets in HDF5 files. The functions are for a child process: damaged files crash the library."""

import math
from typing import Any, NamedTuple

import numpy as np

from openjepa.errors import BadImage, UsageError
from openjepa.optional import require
from openjepa.safety.limits import MAX_COLUMNS, MAX_IMAGE_BYTES

CHUNK_CACHE = 2**27  # bytes of unpacked chunks that are kept: the images of a chunk are read one by one
_opened: dict[str, Any] = {}  # one file, kept open from row to row
_rows: dict[tuple[str, str], Any] = {}  # one data set of it


class Stored(NamedTuple):
    """A data set of a file: its shape, and the dtype as text.

    start    where in the file its values lie one after another, -1 if they are in chunks or compressed
    elsewhere  whether it lies in other files
    """

    shape: tuple[int, ...]
    dtype: str
    start: int
    elsewhere: bool


def list_hdf5(file: str) -> dict[str, Stored]:
    """The data sets of numbers in a file by their path in it; links to other files are not followed."""
    found: dict[str, Stored] = {}
    h5py = require("h5py", "hdf5")

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.dtype.kind in "uifb" and not item.dtype.shape and item.ndim:
            if len(found) >= MAX_COLUMNS.get():
                raise UsageError(f"it has more data sets than are read ({MAX_COLUMNS.words()})")
            elsewhere = bool(item.is_virtual or item.external)
            found[str(name)] = Stored(tuple(map(int, item.shape)), item.dtype.str, _start(opened, item), elsewhere)

    opened = _file(file)
    opened.visititems(note)
    return found


def _start(file: Any, item: Any) -> int:
    """Where the values of a data set lie, -1 if they cannot be read without the library."""
    plain = (
        item.chunks is None
        and not item.is_virtual
        and not item.external
        and item.id.get_create_plist().get_nfilters() == 0
    )
    start = item.id.get_offset() if plain and file.userblock_size == 0 and item.dtype.kind != "b" else None
    return -1 if start is None else int(start)


def read_hdf5(file: str, name: str) -> np.ndarray:
    """A data set whole."""
    return _file(file)[name][()]


def read_hdf5_row(file: str, name: str, row: int) -> np.ndarray:
    """One image of a data set of images. Raises BadImage if it is larger than one may be."""
    item = _data_set(file, name)
    size = math.prod(item.shape[1:]) * item.dtype.itemsize
    if size > MAX_IMAGE_BYTES.get():
        raise BadImage(f"larger than an image may be ({size:,} bytes; {MAX_IMAGE_BYTES.words()})")
    return item[row]


def _data_set(file: str, name: str) -> Any:
    """A data set that stays open, and with it the chunk that its last image lies in, unpacked."""
    if (file, name) not in _rows:
        _rows.clear()
        _rows[file, name] = _file(file)[name]
    return _rows[file, name]


def _file(file: str) -> Any:
    if file not in _opened:
        _opened.clear()
        _rows.clear()
        _opened[file] = require("h5py", "hdf5").File(file, "r", rdcc_nbytes=CHUNK_CACHE)
    return _opened[file]
