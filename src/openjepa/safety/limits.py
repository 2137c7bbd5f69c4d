"""The limits under which foreign files are read. Each can be raised by an environment variable.

A limit NAME is the whole number in the variable OPENJEPA_NAME, as OPENJEPA_MAX_PIXELS=200000000, or its default.
"""

import os
from dataclasses import dataclass

from openjepa.errors import UsageError

MIB = 2**20


@dataclass(frozen=True)
class Limit:
    """A bound on what one file may ask for. `help` says of what; `unit` is that of the number."""

    name: str
    default: int
    unit: str
    help: str

    @property
    def variable(self) -> str:
        return f"OPENJEPA_{self.name}"

    def get(self) -> int:
        """The number that holds now. Raises UsageError where the variable is no whole number above 0."""
        text = os.environ.get(self.variable, "")
        if not text:
            return self.default
        if not (text.isascii() and text.isdecimal() and 0 < len(text) < 19 and int(text)):
            raise UsageError(f"{self.variable}={text[:40]} is not possible: give a whole number above 0, or unset it")
        return int(text)

    def words(self) -> str:
        """The limit with the way to raise it, for messages."""
        return f"the limit is {self.get():,} {self.unit}; {self.variable} raises it"


MAX_PIXELS = Limit("MAX_PIXELS", 89_478_485, "pixels", "width times height of one image")
MAX_IMAGE_BYTES = Limit("MAX_IMAGE_BYTES", 268_435_455, "bytes", "one image once decoded")
MAX_CHANNELS = Limit("MAX_CHANNELS", 4096, "channels", "channels of one image")
MAX_PAGES = Limit("MAX_PAGES", 100_000, "pages", "images in one TIFF or DICOM file")
MAX_FILE_BYTES = Limit("MAX_FILE_BYTES", 1024 * MIB, "bytes", "one image file, before it is decoded")
MAX_MEMBER_BYTES = Limit("MAX_MEMBER_BYTES", 256 * MIB, "bytes", "one image file that is compressed in an archive")
MAX_LIST_BYTES = Limit("MAX_LIST_BYTES", 256 * MIB, "bytes", "a text, CSV, TSV or JSON Lines file that lists images")
MAX_COLUMNS = Limit("MAX_COLUMNS", 1000, "columns", "columns of a list or table")
MAX_ENTRIES = Limit("MAX_ENTRIES", 5_000_000, "entries", "members of one archive, rows of one list or table")
ALWAYS_UNPACKED = Limit(
    "ALWAYS_UNPACKED", 64 * MIB, "bytes", "what comes out of any compressed archive, array or table"
)
MAX_UNPACKED_RATIO = Limit(
    "MAX_UNPACKED_RATIO", 100, "times", "what may come out beyond that, over the size of the file"
)
MAX_READER_MEMORY = Limit("MAX_READER_MEMORY", 768 * MIB, "bytes", "memory of a process that reads Parquet or HDF5")
MAX_READER_SECONDS = Limit(
    "MAX_READER_SECONDS", 4, "seconds", "processor time of such a process, and one second more for each 16 MiB of file"
)
LIMITS = [each for each in list(vars().values()) if isinstance(each, Limit)]

BYTES_A_SECOND = 16 * MIB


def unpacked_bytes(packed: int) -> int:
    """The bytes that may come out of `packed` compressed ones."""
    return ALWAYS_UNPACKED.get() + MAX_UNPACKED_RATIO.get() * packed


def reader_seconds(size: int) -> int:
    """Processor seconds in which a file of `size` bytes must have been read."""
    return MAX_READER_SECONDS.get() + size // BYTES_A_SECOND
