"""Plain images of a TIFF, uncompressed grey or RGB, read by their directory alone: Pillow parses each three times."""

import io
import math
import struct
from typing import IO

import numpy as np
from PIL import Image

from openjepa.data.decoding.tiff_directories import TIFF_MAGIC, byte_order
from openjepa.safety.limits import MAX_IMAGE_BYTES, MAX_PIXELS

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER, STRIPS = 256, 257, 258, 259, 262, 266, 273
ORIENTATION, SAMPLES, ROWS_PER_STRIP, STRIP_BYTES, LAYOUT, SAMPLE_FORMAT = 274, 277, 278, 279, 284, 339
MAGIC = TIFF_MAGIC[:3]  # those of the files that Pillow opens
TEXT = 2
NUMBERS = {3: "H", 4: "I", 16: "Q"}  # the types of TIFF that are whole numbers without a sign, for `struct`
# Tags that change no pixel, with the type that each may have here: the kind of page, resolutions, and texts.
IGNORED = {254: {4}, 282: {5}, 283: {5}, 296: {3}} | {tag: {TEXT} for tag in (269, 270, 271, 272, 305, 306, 315, 316)}
ITEM_BYTES = {TEXT: 1, 3: 2, 4: 4, 5: 8, 16: 8}
USUAL = {COMPRESSION: 1, FILL_ORDER: 1, ORIENTATION: 1, LAYOUT: 1}  # values with which an image is plain
# (photometric interpretation, samples, bits, sample format) of plain images: the type of a value
PLAIN = {(1, 1, 8, 1): "u1", (1, 1, 16, 1): "u2", (1, 1, 32, 3): "f4", (2, 3, 8, 1): "u1"}
MOST_TAGS, MOST_STRIPS = 32, 10_000  # of more, Pillow is asked


def plain_image(stream: IO[bytes], start: int) -> Image.Image | None:
    """The image of the directory at `start` as Pillow decodes it, or None where anything of it is not plain.

    Plain are baseline images (TIFF 6.0, part 1): upright, uncompressed, in strips one behind the other, grey of 8 or 16
    bits or 32-bit float, black is 0, or RGB of 8 bits. For all others, and damaged ones, Pillow is to be asked.
    """
    try:
        directory = _Directory(stream, start)
        dtype, samples = np.dtype(PLAIN[directory.kind()]), directory.one(SAMPLES, 1)
        width, height = directory.one(WIDTH), directory.one(HEIGHT)
        size = width * height * samples * dtype.itemsize
        place = directory.strips(height, size)
    except (_NotPlainError, KeyError, struct.error):
        return None
    if not 0 < width * height <= min(MAX_PIXELS.get(), MAX_IMAGE_BYTES.get()):
        return None
    stream.seek(place)
    content = stream.read(size)
    if dtype == np.uint8:
        return Image.frombytes("L" if samples == 1 else "RGB", (width, height), content)
    values = np.frombuffer(content, directory.order + dtype.str[1:]).reshape(height, width)
    return Image.fromarray(values.astype(dtype))


class _NotPlainError(Exception):
    """A directory with something that is not known here."""


class _Directory:
    """The entries of a directory by their tags: (type, number of values, the bytes of these or of their offset)."""

    def __init__(self, stream: IO[bytes], start: int) -> None:
        stream.seek(0)
        if (magic := stream.read(4)) not in MAGIC:
            raise _NotPlainError
        self.order, self.big = byte_order(magic)
        self._stream, self._begin, self._end = stream, 16 if self.big else 8, stream.seek(0, io.SEEK_END)
        self._left = self._end  # Pillow, too, reads no more values than there are bytes
        stream.seek(start)
        (count,) = struct.unpack(self.order + ("Q" if self.big else "H"), stream.read(8 if self.big else 2))
        entry, following = (20, 8) if self.big else (12, 4)
        content = stream.read(min(count, MOST_TAGS) * entry + following)
        if len(content) != count * entry + following:
            raise _NotPlainError
        entries = [*struct.iter_unpack(self.order + ("HHQ8s" if self.big else "HHI4s"), content[:-following])]
        self._entries = {tag: rest for tag, *rest in reversed(entries)}  # Pillow, too, takes the first of two
        for each in entries:
            self._check(*each)

    def _check(self, tag: int, kind: int, number: int, value: bytes) -> None:
        """Raises for tags that are not known here, unusual values, and values that lie outside of the file."""
        if kind not in IGNORED.get(tag, NUMBERS) or (tag in IGNORED and kind != TEXT and number != 1):
            raise _NotPlainError
        size = number * ITEM_BYTES[kind]
        if size > len(value):
            self._left -= size
            if self._left < 0 or not self._holds(self._offset(value), size):
                raise _NotPlainError
        if tag not in IGNORED and (tag not in NEEDED or number > MOST_STRIPS):
            raise _NotPlainError
        if tag in USUAL and self.one(tag) != USUAL[tag]:
            raise _NotPlainError

    def _holds(self, offset: int, size: int) -> bool:
        return self._begin <= offset and offset + size <= self._end

    def _offset(self, value: bytes) -> int:
        return struct.unpack(self.order + ("Q" if self.big else "I"), value)[0]

    def one(self, tag: int, default: int | None = None) -> int:
        """The value of a tag that has one; raises KeyError where the tag is missing and has no default."""
        if tag not in self._entries and default is not None:
            return default
        values = self.several(tag)
        if len(values) != 1:
            raise _NotPlainError
        return values[0]

    def several(self, tag: int) -> tuple[int, ...]:
        kind, number, value = self._entries[tag]
        size = number * ITEM_BYTES[kind]
        if size > len(value):
            self._stream.seek(self._offset(value))
            value = self._stream.read(size)
        return struct.unpack(f"{self.order}{number}{NUMBERS[kind]}", value[:size])

    def kind(self) -> tuple[int, int, int, int]:
        """A key of PLAIN."""
        samples = self.one(SAMPLES, 1)
        bits, form = self.several(BITS), self.several(SAMPLE_FORMAT) if SAMPLE_FORMAT in self._entries else (1,)
        if len(bits) != samples or len(form) not in (1, samples) or len({*bits}) != 1 or len({*form}) != 1:
            raise _NotPlainError
        return self.one(PHOTOMETRIC), samples, bits[0], form[0]

    def strips(self, height: int, size: int) -> int:
        """Where the pixels begin, which must lie in one piece of `size` bytes, behind the header of the file."""
        starts = self.several(STRIPS)
        rows = min(self.one(ROWS_PER_STRIP, height), height)
        if not rows or len(starts) != math.ceil(height / rows) or not self._holds(starts[0], size):
            raise _NotPlainError
        if any(start != starts[0] + number * rows * (size // height) for number, start in enumerate(starts)):
            raise _NotPlainError
        return starts[0]


NEEDED = {WIDTH, HEIGHT, BITS, PHOTOMETRIC, STRIPS, SAMPLES, ROWS_PER_STRIP, STRIP_BYTES, SAMPLE_FORMAT, *USUAL}
