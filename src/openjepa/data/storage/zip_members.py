"""Members of zip archives: where each lies is read once, then they are read in place, without the archive's index."""

import bz2
import io
import operator
import os
import struct
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from openjepa.arrow import load_tables, optional_cache_file, save_tables
from openjepa.data.storage.names import Names, printable
from openjepa.data.storage.remote import is_remote, open_file, read_range, state
from openjepa.data.storage.storage import HIDDEN, local_version
from openjepa.errors import BadImage, UsageError
from openjepa.safety.limits import MAX_ENTRIES, MAX_MEMBER_BYTES

HEAD = struct.Struct("<4s22xHH")  # signature, bytes of the name, bytes of the extra field
FIELDS = ("header_offset", "compress_size", "file_size", "CRC", "compress_type")
NUMBERS = (*FIELDS, "flag_bits")
INDEX = pa.schema([("name", pa.large_binary()), *((field, pa.int64()) for field in NUMBERS)])
LAYOUT = 1
CACHED_FROM = 10_000  # members; smaller indexes are read in no time
FOLDER = r"/\z"


@dataclass(eq=False)
class Zip:
    """Some members of a zip. Column by column of `members`, int64 [n, 5]: FIELDS of the zip's index."""

    path: str
    names: Names
    members: np.ndarray
    window: int = 0

    def take(self, rows: Sequence[int] | np.ndarray) -> "Zip":
        return replace(self, names=self.names.take(rows), members=self.members[rows])

    def open(self, row: int) -> BinaryIO:
        """The content of a member, unpacked. Raises OSError, BadImage."""
        start, packed, size, check, method = map(int, self.members[row])
        if max(size, packed) > MAX_MEMBER_BYTES.get():
            raise BadImage(f"unpacks to {size:,} bytes ({MAX_MEMBER_BYTES.words()})")
        signature, *lengths = HEAD.unpack(read_range(self.path, start, HEAD.size))
        if signature != b"PK\3\4":
            raise BadImage("damaged (no zip member where the index has one)")
        content = _unpacked(read_range(self.path, start + HEAD.size + sum(lengths), packed), method, size)
        if len(content) != size or zlib.crc32(content) != check:
            raise BadImage("damaged (another CRC-32 than the index has)")
        return io.BytesIO(content)

    def stamp(self, row: int) -> tuple[int, ...]:
        return int(self.members[row, 2]), int(self.members[row, 3])

    def version(self, row: int) -> str | None:
        whole = local_version(self.path)
        return whole and f"{whole}\0{self.members[row, 0]}"


def _unpacked(content: bytes, method: int, size: int) -> bytes:
    """At most one byte more than `size`, which is then wrong."""
    try:
        if method == zipfile.ZIP_STORED:
            return content
        if method == zipfile.ZIP_DEFLATED:
            return zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, size + 1)
        if method == zipfile.ZIP_BZIP2:
            return bz2.BZ2Decompressor().decompress(content, size + 1)
    except (zlib.error, OSError) as error:
        raise BadImage(f"damaged ({error})") from error
    raise BadImage(f"packed in a way that is not read (method {method}): pack it by deflate")


def read_zip(path: str, inside: str = "") -> Zip:
    """All members below a folder "train/" or "", but for folders and hidden ones; names have no backslashes.

    Raises OSError, and UsageError if the file is no readable zip, holds too many members, or encrypted ones.
    """
    index = _index(path)
    if len(index) > MAX_ENTRIES.get():
        raise UsageError(f"{printable(path)} has {len(index):,} members ({MAX_ENTRIES.words()})")
    whole = Names(index["name"])
    rows = np.flatnonzero(whole.starts(inside) & ~whole.match(FOLDER))
    names = whole.take(rows).behind(len(os.fsencode(inside)))
    shown = np.flatnonzero(~names.match(HIDDEN))
    numbers = np.stack([index[field].to_numpy()[rows[shown]] for field in NUMBERS], axis=1)
    if (numbers[:, -1] & 1).any():
        raise UsageError(f"{printable(path)} is encrypted: unpack it and give the folder")
    return Zip(path, names.take(shown), numbers[:, :-1])


def _index(path: str) -> pa.Table:
    """INDEX of a zip: of a large one from the cache, where it is mapped into memory, so that processes share it."""
    size, version = state(path)
    place = optional_cache_file(
        "indexes", "zip", LAYOUT, path if is_remote(path) else os.path.realpath(path), size, version
    )
    tables = load_tables(place, 1)
    index = tables[0] if tables and tables[0].schema == INDEX else None
    if index is None:
        index = _read_index(path)
        if len(index) >= CACHED_FROM:
            save_tables(place, index)
    return index


def _read_index(path: str) -> pa.Table:
    try:
        with open_file(path) as stream, zipfile.ZipFile(stream) as archive:
            found = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError, struct.error) as error:
        raise UsageError(printable(f"{path} is not a readable zip ({error}): copy or pack it again")) from error
    names = Names.of(info.filename.replace("\\", "/") for info in found)
    fields = operator.attrgetter(*NUMBERS)
    columns = zip(*map(fields, found), strict=True) if found else [()] * len(NUMBERS)
    return pa.table([names.array, *map(_numbers, columns)], INDEX)


def _numbers(column: Sequence[int]) -> pa.Array:
    """Larger numbers than a file can have are cut off."""
    try:
        return pa.array(column, pa.int64())
    except (OverflowError, pa.ArrowInvalid):
        return pa.array([min(number, 2**62) for number in column], pa.int64())
