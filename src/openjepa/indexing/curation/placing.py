"""Moving the files of an index, or linking to them, as a list of them says: planned first, never deleting anything."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from openjepa.errors import UsageError
from openjepa.files import check_outside, write_rows
from openjepa.indexing.searchable import Searchable

LIST = "moved.csv"


class Step(NamedTuple):
    """A file and where it is to be."""

    source: Path
    target: Path


def planned(index: Searchable, paths: Sequence[str], folders: Sequence[str], into: Path) -> list[Step]:
    """Where files of an index are to be: below `into`, in a folder each (may be ""), under their paths in the index.

    Raises UsageError where the images do not lie in a folder of this machine, one of them is gone, a path leads out of
    that folder, or something is in the way.
    """
    root = Path(index.about.source)
    if not root.is_dir():
        raise UsageError(f"the images of {index.folder} are {root}, which is no folder here: files cannot be moved")
    check_outside(into, [str(root)])
    steps = []
    for path, folder in zip(paths, folders, strict=True):
        step = Step(root / path, into / folder / path)
        if not (_lies_in(step.source, root) and _lies_in(step.target, into)):
            raise UsageError(f"{path} leads out of {root}: {index.folder} is damaged, index the images again")
        if not step.source.is_file():
            raise UsageError(f"{step.source} is gone or no file: bring {index.folder} up to date first")
        if os.path.lexists(step.target):
            raise UsageError(f"{step.target} exists: give another folder")
        steps.append(step)
    return steps


def _lies_in(path: Path, folder: Path) -> bool:
    """Whether a path lies in a folder; False for an impossible path: a null byte in it, or links that form a circle."""
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (ValueError, RuntimeError, OSError):
        return False


def place(steps: Sequence[Step], into: Path, link: bool) -> None:
    """Move files, or link to them (symbolic links). What was moved is listed in moved.csv. Raises UsageError."""
    done: list[Step] = []
    try:
        for step in steps:
            step.target.parent.mkdir(parents=True, exist_ok=True)
            if link:
                step.target.symlink_to(step.source.absolute())
            else:
                _move(step)
            done.append(step)
    except OSError as error:
        raise UsageError(f"cannot place {step.source} in {into}: {error.strerror or error}") from error
    finally:
        if done and not link:
            write_rows(_free(into / LIST), ("moved_from", "moved_to"), ((str(a), str(b)) for a, b in done))


def _move(step: Step) -> None:
    """Move a file within a file system without replacing another, or copy and remove it where that cannot be."""
    try:
        os.link(step.source, step.target)
    except OSError:
        with open(step.source, "rb") as source, open(step.target, "xb") as target:
            while data := source.read(2**20):
                target.write(data)
            os.fsync(target.fileno())
        stamp = step.source.stat()
        os.utime(step.target, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    step.source.unlink()


def _free(path: Path) -> Path:
    """The name, or with a number the first that is free."""
    names = (path.with_name(f"{path.stem}-{number}{path.suffix}") for number in range(2, 10**6))
    return path if not path.exists() else next(name for name in names if not name.exists())
