"""Where the bytes of images lie: each storage knows its images by number."""

import difflib
import io
import os
import re
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import IO, Protocol, runtime_checkable

import numpy as np

from openjepa.data.storage.names import Names, printable
from openjepa.data.storage.remote import is_remote, open_file, read_range, state, version

Skipped = list[tuple[str, str]]  # (path, reason)
NO_IMAGE = "not an image file"
NOT_ASKED = "not asked for"


class Storage(Protocol):
    """`window` 0: any image can be read at any time; else they come in order, and so many are held at once."""

    window: int

    def open(self, row: int) -> IO[bytes]: ...

    def stamp(self, row: int) -> tuple[int, ...]:
        """Cheap to read, the size in bytes first; equal for files of equal content."""
        ...


@runtime_checkable
class Versioned(Protocol):
    """A storage that can tell without reading an image whether it has changed."""

    def version(self, row: int) -> str | None:
        """A text that is another one after the image has changed; None where that cannot be told. Raises OSError."""
        ...


class Folder:
    """Files by their path relative to `root`, a folder or a URL, or by an absolute path."""

    window = 0

    def __init__(self, root: str, names: Names) -> None:
        self.root, self.names = root, names

    def path(self, row: int) -> str:
        name = self.names.raw(row)
        return f"{self.root}/{name}" if is_remote(self.root) else os.path.join(self.root, name)

    def open(self, row: int) -> IO[bytes]:
        return open_file(self.path(row))

    def stamp(self, row: int) -> tuple[int, ...]:
        return (state(self.path(row))[0] or 0,)

    def version(self, row: int) -> str | None:
        return version(self.path(row))


class Ranges:
    """Images that are stretches of bytes of some files: image i is `sizes[i]` bytes of a file from `starts[i]` on.

    owners int [n] into `files`; starts and sizes int64 [n].
    """

    window = 0

    def __init__(self, files: list[str], owners: np.ndarray, starts: np.ndarray, sizes: np.ndarray) -> None:
        self.files, self.owners, self.starts, self.sizes = files, owners, starts, sizes

    def open(self, row: int) -> IO[bytes]:
        return io.BytesIO(read_range(self.files[self.owners[row]], int(self.starts[row]), int(self.sizes[row])))

    def stamp(self, row: int) -> tuple[int, ...]:
        return (int(self.sizes[row]),)

    def version(self, row: int) -> str | None:
        whole = local_version(self.files[self.owners[row]])
        return whole and f"{whole}\0{self.starts[row]}\0{self.sizes[row]}"


# `is_hidden` and `leaves` for many names at once, as regular expressions (RE2).
HIDDEN = r"(?:\A|/)(?:\.[^/.]|\.\.[^/]|__MACOSX(?:/|\z))"
LEAVES = r"\A/|(?:\A|/)\.\.(?:/|\z)"


def local_version(path: str) -> str | None:
    """`version` of a file that many images lie in; of a remote one None, because a server is not asked for each."""
    return None if is_remote(path) else version(path)


def is_hidden(name: str) -> bool:
    return any((part.startswith(".") and part not in (".", "..")) or part == "__MACOSX" for part in name.split("/"))


def leaves(name: str) -> bool:
    """Whether a member's name points outside of its archive."""
    return name.startswith("/") or ".." in name.split("/")


def missing_inside(names: Iterable[str], inside: str, file: str) -> str:
    """The message for a folder that an archive with members `names` does not hold."""
    folders = {str(parent) for name in names for parent in PurePosixPath(name).parents} - {".", "/"}
    tops = sorted({folder.split("/")[0] for folder in folders})
    near = difflib.get_close_matches(inside, sorted(folders), n=1)
    hint = f"did you mean {file}/{near[0]}?" if near else "it holds " + (", ".join(tops[:10]) or "no folders")
    return printable(f"{file} has no folder {inside}: {hint}")


def files_of(reason: str) -> int:
    """How many files were skipped for a reason: the last one of many files that are no images is of all the others."""
    more = re.search(r"\(([\d,]+) more: ", reason) if reason.startswith(NO_IMAGE) else None
    return int(more[1].replace(",", "")) if more else 1


def files_in(skipped: Skipped) -> int:
    return sum(files_of(reason) for _, reason in skipped)


def skipped_lines(skipped: Skipped, most: int = 10) -> list[str]:
    """Lines for the user: a few of the images that cannot be used, by name, and how many files are no images."""
    others = [reason for _, reason in skipped if reason.startswith(NO_IMAGE)]
    named = [f"skipped {path}: {reason}" for path, reason in skipped if not reason.startswith(NO_IMAGE)][:most]
    count = sum(map(files_of, others))
    return named + [f"skipped {count:,} file{'s that are no images' if count > 1 else ' that is no image'}"] * bool(
        others
    )


def is_lost(reason: str) -> bool:
    """Whether what was skipped for this reason would have been an image, and one more."""
    return not reason.startswith((NO_IMAGE, NOT_ASKED, "named twice"))


def on_one_line(skipped: Skipped) -> Skipped:
    return [(printable(name), printable(reason)) for name, reason in skipped]
