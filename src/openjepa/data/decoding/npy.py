"""The headers of arrays in NumPy's format, checked before anything is allocated."""

import math
import warnings
from typing import IO, NamedTuple

import numpy as np

from openjepa.errors import BadImage

MAGIC = b"\x93NUMPY"
NUMBERS = "biuf"
MOST_DIMENSIONS = 32
_READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


class NpyLayout(NamedTuple):
    """Shape, type and order of the values, of which the first is `start` bytes behind the beginning."""

    shape: tuple[int, ...]
    dtype: np.dtype
    rows_first: bool
    start: int

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def npy_layout(stream: IO[bytes]) -> NpyLayout:
    """The header of a .npy file at the start of a stream. Raises BadImage, also where the values are no numbers."""
    try:
        version = np.lib.format.read_magic(stream)
        if version not in _READERS:
            raise BadImage(f"a version of the .npy format that is not known ({version})")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Reading `.npy`", UserWarning)  # if Python 2 wrote it
            shape, columns_first, dtype = _READERS[version](stream)
    except BadImage:
        raise
    except Exception as error:  # the header is a Python literal, whose parser raises errors of many kinds
        raise BadImage(
            f"damaged ({str(error).strip().splitlines()[0][:100] if str(error).strip() else 'header'})"
        ) from error
    if dtype.kind not in NUMBERS or dtype.shape:
        raise BadImage(f"an array of {str(dtype)[:60]}, which are no numbers")
    if len(shape) > MOST_DIMENSIONS or not all(type(side) is int and 0 <= side < 2**48 for side in shape):
        raise BadImage("damaged (a shape that cannot be)")
    return NpyLayout(shape, dtype, not columns_first, stream.tell())
