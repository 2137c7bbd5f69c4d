"""Tar archives read member by member: no header leads backwards, and what is unpacked is bounded."""

import bz2
import lzma
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from openjepa.errors import UsageError
from openjepa.safety.limits import MAX_ENTRIES, MAX_UNPACKED_RATIO, MIB, unpacked_bytes

COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
CHUNK = 64 * 1024
MAX_BEYOND = 1000  # reads after the end: tarfile skips a member piece by piece, however many bytes its header claims
DICTIONARY = 256 * MIB  # of memory for xz; its strongest preset needs 65 MiB
MAX_HEADER = (
    32 * 1024
)  # bytes of the records before a member, which tarfile searches in time that grows as their square
RECORDS = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)


class DamagedTar(tarfile.TarError):
    """An archive that cannot be read on; the message is the reason."""


class _Header(tarfile.TarInfo):
    """A header that is checked before the archive goes on to what follows it."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if self.size < 0 or (self.type in RECORDS and self.size > MAX_HEADER):
            raise DamagedTar(f"a header claims {self.size:,} bytes")
        return super()._proc_member(archive)  # type: ignore[misc]


def is_compressed(path: str) -> bool:
    return path.lower().endswith(COMPRESSED)


@contextmanager
def open_tar(stream: BinaryIO, compressed: bool) -> Iterator[tarfile.TarFile]:
    """A tar whose members can be read in any order, or a compressed one that can only be read in order.

    Whatever a damaged archive makes the libraries raise becomes DamagedTar or OSError.
    """
    source: Any = _Unpacked(stream) if compressed else stream
    try:
        with tarfile.open(fileobj=source, mode="r|" if compressed else "r:", tarinfo=_Header) as archive:
            yield archive
    except (DamagedTar, OSError, UsageError):
        raise
    except Exception as error:  # headers are text of any kind, and each library has its own errors
        raise DamagedTar((str(error) or "not a tar archive")[:200]) from error


def members_of(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """All members in order. Raises DamagedTar where a header leads back, or there are more than are read."""
    place, count = -1, 0
    while (member := archive.next()) and count <= MAX_ENTRIES.get():
        archive.members = []  # type: ignore[attr-defined]  # it would keep them all
        if member.size < 0 or archive.offset <= place:  # type: ignore[attr-defined]
            raise DamagedTar(f"{member.name[:100]} claims {member.size:,} bytes")
        place, count = archive.offset, count + 1  # type: ignore[attr-defined]
        yield member
    if member:
        raise DamagedTar(f"it has more members than are read ({MAX_ENTRIES.words()})")


class _Unpacked:
    """What is in a gzip, bzip2 or xz file, a bounded piece at a time."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._read, self._given, self._beyond = stream, 0, 0, 0
        self._packed = b""
        self._fill()
        self._new = _decompressor(self._packed)
        self._reader = self._new()

    def read(self, size: int) -> bytes:
        """At most `size` bytes, none at the end. Raises DamagedTar, EOFError, and what the decompressors raise."""
        content = self._piece(min(size, CHUNK))
        self._given, self._beyond = self._given + len(content), 0 if content else self._beyond + 1
        if self._beyond > MAX_BEYOND:
            raise DamagedTar("unexpected end of data")
        if self._given > unpacked_bytes(self._read):
            raise DamagedTar(f"unpacks to more than is read; {MAX_UNPACKED_RATIO.variable} raises the limit")
        return content

    def _piece(self, most: int) -> bytes:
        while not self._reader.eof or self._next():
            content = self._reader.decompress(self._packed, most)
            self._packed = getattr(self._reader, "unconsumed_tail", b"")  # the others keep it themselves
            if content:
                return content
            if not (self._reader.eof or self._packed or self._fill()):
                raise EOFError("the compressed data end in the middle")
        return b""

    def _next(self) -> bool:
        """Begin what follows the end of a compressed stream, behind zeros; False at the end of the file."""
        self._packed = self._reader.unused_data.lstrip(b"\0")
        while not self._packed and self._fill():
            self._packed = self._packed.lstrip(b"\0")
        self._reader = self._new() if self._packed else self._reader
        return bool(self._packed)

    def _fill(self) -> bool:
        self._packed = self._stream.read(CHUNK)
        self._read += len(self._packed)
        return bool(self._packed)


def _decompressor(start: bytes) -> Any:
    """The class of reader, or a function that makes one, for what begins so."""
    if start[:2] == b"\x1f\x8b":
        return lambda: zlib.decompressobj(16 + zlib.MAX_WBITS)
    if start[:3] == b"BZh":
        return bz2.BZ2Decompressor
    return lambda: lzma.LZMADecompressor(memlimit=DICTIONARY)
