"""Where a name points: a folder, a file, or a place inside of a file."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from openjepa.data.storage.names import printable
from openjepa.data.storage.remote import is_remote
from openjepa.data.storage.storage import leaves


@dataclass(frozen=True)
class Location:
    """A path or URL, split.

    shown   the name as it is printed
    path    absolute, or a URL
    file    the file that is `path` or lies above it (of a URL, all of it unless it goes into an archive); "" for none
    inside  what of `path` follows `file`, as "train" in photos.zip/train
    """

    shown: str
    path: str
    file: str
    inside: str

    @property
    def suffix(self) -> str:
        """The last suffix of the file in lower case, with its dot."""
        return os.path.splitext(self.file)[1].lower()


def locate(name: str) -> Location:
    """Split a path or URL as the user typed it; nothing is fetched."""
    shown = printable(name.rstrip("/") or name)
    if is_remote(name):
        parts = re.fullmatch(r"(.*?\.(?:zip|tar))/(.+)", name, re.DOTALL)
        return Location(shown, name, *(parts.groups() if parts else (name, "")))
    path = os.path.abspath(os.path.expanduser(name))
    file = next((str(place) for place in (Path(path), *Path(path).parents) if os.path.isfile(place)), "")
    return Location(shown, path, file, path[len(file) + 1 :].replace(os.sep, "/") if file else "")


def inside_of(folder: str, path: str, roots: Sequence[str] = ()) -> str | None:
    """Where a `path` that a file states lies below the file's `folder`, local or a URL; None if it leads elsewhere.

    It is relative, without "..", and after all links it lies in the folder; or in one of the `roots`, also absolute.
    """
    if "\0" in path or is_remote(path) or (leaves(path) and not roots):
        return None
    if is_remote(folder):
        return None if leaves(path) else f"{folder}/{path}"
    found = os.path.realpath(os.path.join(folder, path))
    allowed = (os.path.realpath(root) for root in (folder, *roots))
    return found if any(found.startswith(root.rstrip(os.sep) + os.sep) for root in allowed) else None
