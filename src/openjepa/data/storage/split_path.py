"""Where a name points: a folder, a file, or a place inside of a file."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from openjepa.data.storage.names import printable
from openjepa.data.storage.remote import is_remote


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
