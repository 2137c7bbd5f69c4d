"""Where the bytes of images lie: a folder or a zip, both read by name."""

import os
import zipfile
from typing import BinaryIO, Protocol

Skipped = list[tuple[str, str]]  # (path, reason)


class Storage(Protocol):
    def open(self, name: str) -> BinaryIO: ...

    def stamp(self, name: str) -> tuple[int, ...]:
        """Cheap to read, the size in bytes first; equal for files of equal content."""
        ...


class Folder:
    """Files by their path relative to `root`, or by an absolute path."""

    def __init__(self, root: str) -> None:
        self.root = root

    def open(self, name: str) -> BinaryIO:
        return open(os.path.join(self.root, name), "rb")

    def stamp(self, name: str) -> tuple[int, ...]:
        return (os.stat(os.path.join(self.root, name)).st_size,)


class Archive:
    """Members of a zip, read in place. `inside` ("" or "train/") is put before every name.

    Raises zipfile.BadZipFile or OSError from the first use if the file is no readable zip.
    """

    def __init__(self, path: str, inside: str = "") -> None:
        self.path, self.inside = path, inside
        self._handle: tuple[int, zipfile.ZipFile] | None = None

    def members(self) -> list[zipfile.ZipInfo]:
        """All files below `inside` that are not hidden."""
        members = (info for info in self._zip.infolist() if info.filename.startswith(self.inside))
        return [info for info in members if not (info.is_dir() or is_hidden(self.name(info)))]

    def name(self, member: zipfile.ZipInfo) -> str:
        return member.filename.removeprefix(self.inside)

    def open(self, name: str) -> BinaryIO:
        return self._zip.open(self.inside + name)

    def stamp(self, name: str) -> tuple[int, ...]:
        info = self._zip.getinfo(self.inside + name)
        return info.file_size, info.CRC

    @property
    def _zip(self) -> zipfile.ZipFile:
        # A forked process shares the position in the file with its parent, so each process opens its own.
        if self._handle is None or self._handle[0] != os.getpid():
            self._handle = os.getpid(), zipfile.ZipFile(self.path)
        return self._handle[1]

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_handle": None}


def walk(root: str) -> tuple[list[str], Skipped]:
    """Names (relative, with "/") of all regular files below `root`, and what could not be entered or read.

    Hidden files and folders are left out. Links are followed, but no folder is entered twice.
    Raises OSError if `root` itself cannot be read.
    """
    files, skipped, seen, waiting = [], [], set(), [""]
    while waiting:
        folder = waiting.pop()
        try:
            entries = _entries(os.path.join(root, folder), seen)
        except OSError as error:
            if not folder:
                raise
            skipped.append((folder, str(error.strerror).lower()))
            continue
        for entry in entries:
            name, kind = folder + entry.name, _kind(entry)
            if kind == "folder":
                # Links wait until all real folders are done, so that a real path wins over a link to it.
                waiting.insert(0 if entry.is_symlink() else len(waiting), name + "/")
            elif kind == "file":
                files.append(name)
            else:
                skipped.append((name, kind))
    return files, skipped


def is_hidden(name: str) -> bool:
    return any((part.startswith(".") and part not in (".", "..")) or part == "__MACOSX" for part in name.split("/"))


def printable(name: str) -> str:
    """The name with bytes that are not UTF-8 spelled out, so that it can be printed and stored anywhere."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def _entries(path: str, seen: set[tuple[int, int]]) -> list[os.DirEntry[str]]:
    status = os.stat(path)
    if (status.st_dev, status.st_ino) in seen:
        return []
    seen.add((status.st_dev, status.st_ino))
    with os.scandir(path) as entries:
        return sorted((entry for entry in entries if not is_hidden(entry.name)), key=lambda entry: entry.name)


def _kind(entry: os.DirEntry[str]) -> str:
    try:
        if entry.is_dir():
            return "folder"
        if entry.is_file():
            return "file"
    except OSError:  # a link that leads to itself
        return "broken link"
    return "broken link" if entry.is_symlink() else "not a regular file"
