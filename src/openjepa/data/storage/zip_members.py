"""Members of zip archives: where each lies is read once, then they are read in place, without the archive's index."""

import bz2
import io
import struct
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO

import numpy as np

from openjepa.data.storage.names import Names, printable
from openjepa.data.storage.remote import open_file, read_range
from openjepa.data.storage.storage import is_hidden
from openjepa.errors import BadImage, UsageError
from openjepa.safety.limits import MAX_ENTRIES, MAX_MEMBER_BYTES

HEAD = struct.Struct("<4s22xHH")  # signature, bytes of the name, bytes of the extra field
FIELDS = ("header_offset", "compress_size", "file_size", "CRC", "compress_type")


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
    try:
        with open_file(path) as stream, zipfile.ZipFile(stream) as archive:
            found = [(info.filename.replace("\\", "/"), info) for info in archive.infolist()]
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError, struct.error) as error:
        raise UsageError(printable(f"{path} is not a readable zip ({error}): copy or pack it again")) from error
    if len(found) > MAX_ENTRIES.get():
        raise UsageError(f"{printable(path)} has {len(found):,} members ({MAX_ENTRIES.words()})")
    below = [(name.removeprefix(inside), info) for name, info in found if name.startswith(inside)]
    kept = [(name, info) for name, info in below if not (name.endswith("/") or is_hidden(name))]
    if any(info.flag_bits & 1 for _, info in kept):
        raise UsageError(f"{printable(path)} is encrypted: unpack it and give the folder")
    numbers = [[min(getattr(info, field), 2**62) for field in FIELDS] for _, info in kept]
    return Zip(path, Names.of(name for name, _ in kept), np.array(numbers, np.int64).reshape(-1, len(FIELDS)))
