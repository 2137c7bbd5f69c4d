"""Many file names in little memory: one Arrow buffer instead of a Python string each."""

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

CHUNK = 65_536
_ESCAPED = {code: f"\\x{code:02x}" for code in (*range(32), 127)} | {9: "\\t", 10: "\\n", 13: "\\r"}


def printable(name: str) -> str:
    """The name on one line: bytes that are not UTF-8, and control characters, are spelled out."""
    try:
        text = os.fsencode(name).decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # half a pair of surrogates, as JSON can hold
        text = name.encode("utf-8", "backslashreplace").decode()
    return text.translate(_ESCAPED)


class Names(Sequence[str]):
    """An immutable sequence of names. Items are `printable`; `raw` is the name as the system knows it.

    About 8 bytes a name beside its own; equal to any sequence of the same texts.
    """

    def __init__(self, array: pa.Array | pa.ChunkedArray) -> None:
        whole = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
        self.array: pa.LargeBinaryArray = whole.cast(pa.large_binary())

    @classmethod
    def of(cls, names: Iterable[str | bytes]) -> "Names":
        return cls(pa.array([os.fsencode(name) for name in names], pa.large_binary()))

    @classmethod
    def numbered(cls, stem: str, count: int) -> "Names":
        """STEM-000000, STEM-000001, ..."""
        return cls.of(f"{stem}-{number:06d}" for number in range(count))

    def __len__(self) -> int:
        return len(self.array)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> "Names": ...

    def __getitem__(self, index: int | slice) -> "str | Names":
        return Names(self.array[index]) if isinstance(index, slice) else printable(self.raw(index))

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), CHUNK):
            yield from (printable(os.fsdecode(name)) for name in self.array[start : start + CHUNK].to_pylist())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]  # not hashable, as a list of texts is not

    def __repr__(self) -> str:
        return f"Names({list(self[:10])}{'...' * (len(self) > 10)})"

    def raw(self, index: int | np.integer) -> str:
        return os.fsdecode(self.array[int(index)].as_py())

    def take(self, indices: Sequence[int] | np.ndarray) -> "Names":
        return Names(self.array.take(pa.array(np.asarray(indices, np.int64))))

    def where(self, mask: pa.BooleanArray | np.ndarray) -> "Names":
        return Names(self.array.filter(pa.array(mask) if isinstance(mask, np.ndarray) else mask))

    def order(self) -> np.ndarray:
        """The indices int64 [n] that sort the names by their bytes."""
        if pc.all(pc.less_equal(self.array[:-1], self.array[1:])).as_py() is not False:  # None: there is no pair
            return np.arange(len(self))
        return pc.array_sort_indices(self.array).to_numpy().astype(np.int64)

    def match(self, pattern: str) -> np.ndarray:
        """Which names a regular expression (RE2, on bytes) is found in: bool [n]."""
        return pc.match_substring_regex(self.array, pattern).to_numpy(zero_copy_only=False)

    def starts(self, text: str) -> np.ndarray:
        """Which names start with a text: bool [n]."""
        return pc.starts_with(self.array, os.fsencode(text)).to_numpy(zero_copy_only=False)

    def replace(self, pattern: str, replacement: str) -> "Names":
        return Names(pc.replace_substring_regex(self.array, pattern=pattern, replacement=replacement))

    def occurrences(self, text: str) -> np.ndarray:
        """How often each name holds a text: int64 [n]."""
        return pc.count_substring(self.array, text).to_numpy().astype(np.int64)

    def behind(self, start: int) -> "Names":
        """The names without their first `start` bytes."""
        return Names(pc.binary_replace_slice(self.array, 0, start, b"")) if start else self

    def below(self, folder: str) -> "Names":
        """The same names behind a folder "a/b/"."""
        prefix = pa.scalar(os.fsencode(folder), pa.large_binary())
        return Names(pc.binary_join_element_wise(prefix, self.array, pa.scalar(b"", pa.large_binary())))

    def codes(self) -> tuple[np.ndarray, list[str]]:
        """int64 [n] into the distinct names, and these, sorted by their bytes."""
        encoded = self.array.dictionary_encode()
        distinct = Names(encoded.dictionary)
        order = distinct.order()
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        return rank[encoded.indices.to_numpy()] if len(self) else np.zeros(0, np.int64), list(distinct.take(order))


def joined(parts: Sequence[Names]) -> Names:
    return Names(pa.chunked_array([part.array for part in parts], pa.large_binary()))
