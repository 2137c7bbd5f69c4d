"""Where the images of a TIFF file lie, found by following their directories, without reading these."""

import io
import struct
from collections.abc import Iterator
from typing import IO, Any

from openjepa.errors import BadImage
from openjepa.safety.limits import MAX_PAGES

TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def directories(stream: IO[bytes]) -> list[int]:
    """The offset of the directory of every image of a TIFF. Raises BadImage for more than are read, or for a circle."""
    found: dict[int, None] = {}
    for start in _chain(stream):
        if start in found:
            raise BadImage("damaged (its directories form a circle)")
        if len(found) >= MAX_PAGES.get():
            raise BadImage(f"more images in one file than are read ({MAX_PAGES.words()})")
        found[start] = None
    return list(found)


def _chain(stream: IO[bytes]) -> Iterator[int]:
    """Offset after offset; it ends where one lies outside of the file, as that of a file that is cut does."""
    order, big = byte_order(_magic(stream))
    count, pointer = struct.Struct(order + ("Q" if big else "H")), struct.Struct(order + ("Q" if big else "I"))
    start = pointer.size if big else 4
    while True:
        stream.seek(start)
        content = stream.read(pointer.size)
        if len(content) < pointer.size or not (place := pointer.unpack(content)[0]) or place >= 2**62:
            return
        stream.seek(place)
        content = stream.read(count.size)
        if len(content) < count.size:
            return
        yield place
        start = place + count.size + count.unpack(content)[0] * (20 if big else 12)
        if start >= 2**62:
            return


def byte_order(magic: bytes) -> tuple[str, bool]:
    """The byte order of a TIFF with these first four bytes, for `struct`, and whether it is a BigTIFF."""
    return "<" if magic[:1] == b"I" else ">", magic[2:4] in (b"+\0", b"\0+")


def _magic(stream: IO[bytes]) -> bytes:
    stream.seek(0)
    return stream.read(4)


def at_directory(stream: IO[bytes], start: int) -> IO[bytes]:
    """The same TIFF file, but its first image is the one with the directory at `start`. Closing it closes nothing."""
    order, big = byte_order(_magic(stream))
    stream.seek(0)
    head = stream.read(8 if big else 4) + struct.pack(order + ("Q" if big else "I"), start)
    stream.seek(0)
    return io.BufferedReader(_OtherHead(stream, head))  # because decoders read the entries of a directory one by one


class _OtherHead(io.RawIOBase):
    """A stream with its first bytes replaced."""

    def __init__(self, stream: IO[bytes], head: bytes) -> None:
        self._stream, self._head = stream, head

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._stream.fileno()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def readinto(self, buffer: Any) -> int:
        into, place = memoryview(buffer).cast("B"), self._stream.tell()
        content = self._stream.read(len(into))
        into[: len(content)] = content
        patched = self._head[place : place + len(content)]
        into[: len(patched)] = patched
        return len(content)
