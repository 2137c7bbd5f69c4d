"""The cache folder; files and folders written whole or not at all; JSON, CSV and hashes."""

import contextlib
import csv
import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from openjepa.errors import UsageError
from openjepa.escaping import csv_cell, utf8
from openjepa.files.temporary import remove, temporary


class Number(str):
    """A number as text, with the digits that a CSV file is to have; elsewhere it is a number."""


def cache_folder(*parts: str) -> Path:
    """A place below $OPENJEPA_CACHE or, where that is not set, openjepa's folder in the user's cache folder.

    Raises UsageError where the user has no home folder, as in a container with an unknown user.
    """
    if named := os.environ.get("OPENJEPA_CACHE"):
        return Path(named).joinpath(*parts)
    with contextlib.suppress(RuntimeError, KeyError):
        folder = user_cache_path("openjepa", appauthor=False)
        if folder.is_absolute():
            return folder.joinpath(*parts)
    raise UsageError("there is no home folder for a cache: set OPENJEPA_CACHE to a folder that can be written to")


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A temporary file beside `path`, whose folders are made; it replaces `path` if the block raises nothing.

    Several processes may write `path` at once, each through a file of its own; the last one wins. The mode follows the
    umask, whatever the writer in the block does. A device or pipe is written directly. Raises OSError.
    """
    if path.exists() and not path.is_file():
        yield path
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = temporary(path)
    try:
        part.write_bytes(b"")
        mode = part.stat().st_mode
        yield part
        part.chmod(mode)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: Path, replace: bool = False, durable: bool = False) -> Iterator[Path]:
    """A temporary folder beside `path` that becomes `path` if the block raises nothing; else it is deleted.

    An empty folder at `path` is replaced, one with content only with `replace`. With `durable`, all of it is on the
    disk before it takes its place. The modes of the files follow the umask. Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = temporary(path)
    try:
        part.mkdir()
        yield part
        files = [file for file in part.rglob("*") if file.is_file()]
        for file in files:
            file.chmod(part.stat().st_mode & 0o666)
        for written in (*files, part) if durable else ():
            flush(written)
        _take_place(part, path, replace)
        if durable:
            flush(path.parent)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _take_place(part: Path, path: Path, replace: bool) -> None:
    """Rename a folder to `path`; what is there is moved aside first and deleted last, so that it is never in part."""
    old = temporary(path)
    if path.exists() and replace:
        path.rename(old)
    elif path.exists():
        path.rmdir()
    part.rename(path)
    remove(old)


@contextlib.contextmanager
def usage_error(path: Path) -> Iterator[None]:
    """Turn OSError from writing `path`, which the user named, into UsageError."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from error


def flush(path: Path) -> None:
    """Force a file or folder entry to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """A text file in UTF-8, whole or not at all; bytes that are not UTF-8 are escaped. Raises OSError."""
    with atomic_file(path) as part:
        part.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON-able value, whole or not at all; bytes that are not UTF-8 are spelled \\udcff. Raises OSError."""
    write_text(path, json.dumps(_in_utf8(value), indent=2) + "\n")


def _in_utf8(value: Any) -> Any:
    """A JSON-able value whose texts are UTF-8, because strict readers refuse lone surrogates."""
    if isinstance(value, dict):
        return {utf8(key) if isinstance(key, str) else key: _in_utf8(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [*map(_in_utf8, value)]
    return utf8(value) if isinstance(value, str) else value


def write_output(path: Path, text: str) -> None:
    """`write_text` for a file that the user named. Raises UsageError."""
    with usage_error(path):
        write_text(path, text)


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Sequence]) -> None:
    """A CSV file with a head line, UTF-8, whole or not at all; text is no formula in it. Raises UsageError."""
    with (
        usage_error(path),
        atomic_file(path) as part,
        part.open("w", newline="", encoding="utf-8", errors="backslashreplace") as stream,
    ):
        csv.writer(stream).writerows([*map(csv_cell, row)] for row in itertools.chain([columns], rows))


def file_hash(path: Path) -> str:
    """The SHA-256 of a file in hexadecimal digits. Raises OSError, also for what is no regular file."""
    if path.exists() and not path.is_file():  # a pipe would be waited for, and a device has no end
        raise OSError(f"{path} is not a regular file")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
