"""Names for what is being written, beside the place that it will take; leftovers of killed processes are deleted."""

import contextlib
import functools
import hashlib
import itertools
import os
import platform
import shutil
import time
from pathlib import Path

PREFIX = ".writing-"
MOST_SUFFIX = 16
DAY = 86400  # seconds after which a leftover of another machine is deleted
_numbers = itertools.count()
_made: set[str] = set()  # by this process, so that a leftover of one with the same number is told apart


def temporary(path: Path) -> Path:
    """A name beside `path` that no other process uses; what ended processes left for the same path is deleted.

    The folder of `path` must exist. Raises OSError.
    """
    start = f"{PREFIX}{_digest(path.name)}-"
    with os.scandir(path.parent) as entries:
        leftovers = [Path(entry.path) for entry in entries if entry.name.startswith(start) and _is_left(entry)]
    for leftover in leftovers:
        remove(leftover)
    suffix = path.suffix if len(path.suffix) < MOST_SUFFIX else ""
    name = f"{start}{_place()}-{os.getpid()}-{next(_numbers)}{suffix}"
    _made.add(name)
    return path.with_name(name)


def remove_leftovers(folder: Path) -> None:
    """Delete what ended processes left anywhere below a folder in which no other process writes."""
    for path in [path for path in folder.rglob(f"{PREFIX}*") if path.name not in _made]:
        remove(path)


def remove(path: Path) -> None:
    """Delete a file or a folder with its content, or what of it can be deleted."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def _is_left(entry: os.DirEntry) -> bool:
    """Whether the process that made a temporary file has ended, as far as this machine knows."""
    try:
        _, place, process = entry.name.removeprefix(PREFIX).split("-")[:3]
        if os.name != "posix" or place != _place():
            return time.time() - entry.stat(follow_symlinks=False).st_mtime > DAY
        if int(process) == os.getpid():
            return entry.name not in _made
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except (OSError, ValueError):
        return False
    return False


@functools.cache
def _place() -> str:
    """A short hash of the machine, and on Linux of the container, that numbers of processes are of."""
    container = ""
    with contextlib.suppress(OSError):
        container = os.readlink("/proc/self/ns/pid")
    return _digest(f"{platform.node()} {container}")


def _digest(text: str) -> str:
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:8]
