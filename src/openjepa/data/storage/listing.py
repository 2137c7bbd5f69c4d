"""All files below a folder; of large folders a second listing only asks when each folder was last changed."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from openjepa.arrow import load_tables, optional_cache_file, save_tables
from openjepa.data.storage.names import Names, joined
from openjepa.data.storage.remote import SETTLED
from openjepa.data.storage.storage import Skipped

LAYOUT = 1
CACHED_FROM = 10_000  # files; smaller folders are listed in no time
FOLDERS = pa.schema(
    [
        ("path", pa.large_binary()),
        ("changed", pa.int64()),
        ("device", pa.uint64()),
        ("inode", pa.uint64()),
        ("folders", pa.list_(pa.large_binary())),
        ("links", pa.list_(pa.large_binary())),
    ]
)
FILES = pa.schema([("name", pa.large_binary()), ("folder", pa.int32())])


@dataclass
class Found:
    """What lies in one folder: names of its files, and the paths of the folders and of the links to folders in it."""

    path: bytes
    changed: int
    key: tuple[int, int]
    files: list[bytes] = field(default_factory=list)
    folders: list[bytes] = field(default_factory=list)
    links: list[bytes] = field(default_factory=list)
    skipped: Skipped = field(default_factory=list)


class Memory:
    """What an earlier listing of `root` found, by folder."""

    def __init__(self, root: str) -> None:
        self.place = optional_cache_file("listings", LAYOUT, os.path.realpath(root))
        tables = load_tables(self.place, 2)
        folders, self.files = tables if tables else (FOLDERS.empty_table(), FILES.empty_table())
        columns = (folders[name].to_pylist() for name in FOLDERS.names)
        self.known = {path: (number, *rest) for number, (path, *rest) in enumerate(zip(*columns, strict=True))}
        self.used: list[int] = []

    def recall(self, path: bytes, status: os.stat_result) -> Found | None:
        number, changed, device, inode, folders, links = self.known.get(path, (-1, -1, 0, 0, [], []))
        if (changed, device, inode) != (status.st_mtime_ns, status.st_dev, status.st_ino):
            return None
        self.used.append(number)
        return Found(path, changed, (device, inode), folders=folders, links=links)

    def recalled(self) -> tuple[Names, np.ndarray]:
        """The files of the folders that were recalled, sorted, and the number that their folder had."""
        files = self.files
        if len(self.used) < len(self.known):
            files = files.filter(pc.is_in(files["folder"], pa.array(self.used, pa.int32())))
        return Names(files["name"]), files["folder"].to_numpy()

    def keep(self, folders: list[Found], names: Names, owners: np.ndarray) -> None:
        columns = [
            [each.path for each in folders],
            [each.changed for each in folders],
            [each.key[0] for each in folders],
            [each.key[1] for each in folders],
            [each.folders for each in folders],
            [each.links for each in folders],
        ]
        files = pa.table([names.array, pa.array(owners, pa.int32())], FILES)
        typed = [pa.array(column, kind) for column, kind in zip(columns, FOLDERS.types, strict=True)]
        save_tables(self.place, pa.table(typed, FOLDERS), files)


def walk(root: str) -> tuple[Names, Skipped]:
    """Names (relative, with "/", sorted by bytes) of all regular files below `root`, and what could not be entered.

    Hidden files and folders are left out. Links are followed, but no folder is entered twice.
    Raises OSError if `root` itself cannot be read.
    """
    memory = Memory(root)
    folders: list[Found] = []
    fresh: list[tuple[int, Names]] = []
    skipped: Skipped = []
    for found, is_new in _visit(os.fsencode(root), memory.recall, skipped):
        folders.append(found)
        skipped += found.skipped
        if is_new and found.files:
            fresh.append((len(folders) - 1, _below(found.path, found.files)))
            found.files = []
    if not fresh and len(memory.used) == len(memory.known):
        return memory.recalled()[0], skipped
    names, owners = _merge(folders, fresh, memory)
    if len(names) >= CACHED_FROM:
        memory.keep(folders, names, owners)
    return names, skipped


def _merge(folders: list[Found], fresh: list[tuple[int, Names]], memory: Memory) -> tuple[Names, np.ndarray]:
    old, owners = memory.recalled()
    number = np.zeros(max(len(memory.known), 1), np.int32)
    for place, folder in enumerate(folders):
        if folder.path in memory.known:
            number[memory.known[folder.path][0]] = place
    names = joined([old, *(part for _, part in fresh)])
    owners = np.concatenate([number[owners], *(np.full(len(part), place, np.int32) for place, part in fresh)])
    order = names.order()
    return names.take(order), owners[order]


def _below(folder: bytes, files: list[bytes]) -> Names:
    names = Names.of(files)
    return names.below(os.fsdecode(folder)) if folder else names


def _visit(root: bytes, recall: Callable, skipped: Skipped) -> Iterator[tuple[Found, bool]]:
    """Every folder once, with whether it was read anew."""
    seen: set[tuple[int, int]] = set()
    waiting: list[bytes] = [b""]
    links: list[bytes] = []
    while waiting or links:
        # Links wait until all real folders are done, so that a real path wins over a link to it.
        path = waiting.pop() if waiting else links.pop(0)
        try:
            status = os.stat(os.path.join(root, path))
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            remembered = recall(path, status)
            found = remembered or _scan(root, path, status)
        except OSError as error:
            if not path:
                raise
            skipped.append((os.fsdecode(path), str(error.strerror).lower()))
            continue
        waiting += reversed(found.folders)
        links += found.links
        yield found, not remembered


def _scan(root: bytes, path: bytes, status: os.stat_result) -> Found:
    settled = time.time_ns() - status.st_mtime_ns > SETTLED
    found = Found(path, status.st_mtime_ns if settled else -1, (status.st_dev, status.st_ino))
    with os.scandir(os.path.join(root, path)) as entries:
        for entry in entries:
            if entry.name.startswith(b".") or entry.name == b"__MACOSX":
                continue
            kind = _kind(entry)
            if kind == "folder":
                (found.links if entry.is_symlink() else found.folders).append(path + entry.name + b"/")
            elif kind == "file":
                found.files.append(entry.name)
            else:
                found.skipped.append((os.fsdecode(path + entry.name), kind))
                found.changed = -1  # what a link leads to may change without the folder
    found.folders.sort()
    found.links.sort()
    return found


def _kind(entry: os.DirEntry[bytes]) -> str:
    try:
        if entry.is_dir():
            return "folder"
        if entry.is_file():
            return "file"
    except OSError:  # a link that leads to itself
        return "broken link"
    return "broken link" if entry.is_symlink() else "not a regular file"
