"""Files by path or by URL (s3, gs, http, ...): the same few questions, asked of the system or through fsspec."""

import contextlib
import errno
import functools
import glob
import math
import os
import re
import stat
import time
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

from openjepa.data.storage.names import printable
from openjepa.errors import BadImage, UsageError

EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs"}
NO_WAIT = os.O_NONBLOCK  # for the writer of a pipe
MOST_EXPANDED, AT_MOST = 10**6, "give a million at most"
MOST_BRACES = 20
BRACES, SPAN = re.compile(r"\{([^{}]*(?:\.\.|,)[^{}]*)\}"), re.compile(r"(\d{1,18})\.\.(\d{1,18})")
NOT_REGULAR = "not a regular file"
SETTLED = 2 * 10**9  # ns: a change sooner after another may leave the time of the file or folder as it is
TIMEOUT = 30.0  # seconds without an answer from a server


def is_remote(path: str) -> bool:
    return re.match(r"[a-z][a-z0-9+.-]+://", path) is not None


def open_file(path: str) -> BinaryIO:
    """The whole file, seekable. Raises OSError, also if it is a pipe or device; UsageError if a library is missing."""
    if not is_remote(path):
        return open(path, "rb", opener=_open_regular)
    system, inner = _system(path)
    with _as_os_error(path):
        return system.open(inner, "rb")


def read_range(path: str, start: int, size: int) -> bytes:
    """Exactly the bytes from `start` on. Raises OSError, BadImage if the file is shorter now."""
    if is_remote(path):
        system, inner = _system(path)
        with _as_os_error(path):
            content = system.cat_file(inner, start=start, end=start + size)
    else:
        handle = os.open(path, os.O_RDONLY | NO_WAIT)
        try:
            content = os.pread(handle, size, start)
        finally:
            os.close(handle)
    if len(content) != size:
        raise BadImage("truncated" if len(content) < size else "the server sends whole files only")
    return content


def state(path: str) -> tuple[int | None, str]:
    """(size in bytes, what changes when the file does). Raises OSError, also for what is no regular file."""
    if not is_remote(path):
        status = os.stat(path)
        _check_regular(path, status)
        return status.st_size, str(status.st_mtime_ns)
    system, inner = _system(path)
    with _as_os_error(path):
        info = system.info(inner)
    marks = ("ETag", "etag", "LastModified", "last_modified", "mtime", "updated", "created")
    return info.get("size"), next((str(info[mark]) for mark in marks if info.get(mark)), "")


def version(path: str) -> str | None:
    """A text that is another one after the file has changed; None where that cannot be told. Raises OSError."""
    size, mark = state(path)
    if is_remote(path):
        return f"{path}\0{size}\0{mark}" if mark else None
    settled = time.time_ns() - int(mark) > SETTLED
    return f"{os.path.abspath(path)}\0{size}\0{mark}" if settled else None


def _open_regular(path: str, flags: int) -> int:
    """What `open` uses for local files: a pipe without a writer is not waited for."""
    handle = os.open(path, flags | NO_WAIT)
    try:
        _check_regular(path, os.fstat(handle))
    except OSError:
        os.close(handle)
        raise
    return handle


def _check_regular(path: str, status: os.stat_result) -> None:
    if stat.S_ISREG(status.st_mode):
        return
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    raise OSError(errno.EINVAL, NOT_REGULAR, path)


def expand(pattern: str) -> list[str]:
    """The paths that {0000..0999}, {a,b}, *, ? and [...] in a pattern stand for; braces keep their order.

    Raises UsageError for more than a million.
    """
    if pattern.count("{") > MOST_BRACES:
        raise UsageError(f"{printable(pattern)[:100]} has more than {MOST_BRACES} braces: give a simpler pattern")
    found = []
    most = f"{printable(pattern)} stands for more than {MOST_EXPANDED:,} files: {AT_MOST}"
    if math.prod(_count(match[1]) for match in BRACES.finditer(pattern)) > MOST_EXPANDED:
        raise UsageError(most)
    for number, path in enumerate(_braces(pattern)):
        if number >= MOST_EXPANDED:  # braces within braces stand for more than was counted
            raise UsageError(most)
        found += _globbed(path) if glob.has_magic(path) else [path]
    return found


def has_magic(path: str) -> bool:
    return glob.has_magic(path) or BRACES.search(path) is not None


def _count(inside: str) -> int:
    """How many values the inside of innermost braces has."""
    span = SPAN.fullmatch(inside)
    return max(0, int(span[2]) - int(span[1]) + 1) if span else inside.count(",") + 1


def _braces(pattern: str) -> Iterator[str]:
    match = BRACES.search(pattern)
    if not match:
        yield pattern
        return
    span = SPAN.fullmatch(match[1])
    values: Iterable[str]
    if span:
        first, last = int(span[1]), int(span[2])
        values = (f"{number:0{len(span[1])}d}" for number in range(first, last + 1))
    else:
        values = match[1].split(",")
    for value in values:
        yield from _braces(pattern[: match.start()] + value + pattern[match.end() :])


def _globbed(pattern: str) -> list[str]:
    if not is_remote(pattern):
        return sorted(glob.glob(pattern, recursive=True))
    system, inner = _system(pattern)
    with _as_os_error(pattern):
        return sorted(system.unstrip_protocol(path) for path in system.glob(inner))


def files_below(url: str) -> list[str]:
    """Names of all files below a remote folder, relative to it. Raises OSError."""
    system, inner = _system(url)
    with _as_os_error(url):
        found = system.find(inner)
    root = inner.rstrip("/") + "/"
    return sorted(path.removeprefix(root) for path in found)


def _system(url: str) -> tuple[Any, str]:
    system = _connect(url.split("://")[0], os.getpid())
    return system, system._strip_protocol(url)


@functools.lru_cache(maxsize=16)
def _connect(protocol: str, _process: int) -> Any:
    """One connection for each process: those of a parent do not survive a fork."""
    try:
        import fsspec

        settings: dict[str, Any] = {"skip_instance_cache": True}
        if protocol in ("http", "https"):
            import aiohttp

            settings["client_kwargs"] = {"timeout": aiohttp.ClientTimeout(connect=TIMEOUT, sock_read=TIMEOUT)}
        return fsspec.filesystem(protocol, **settings)
    except ImportError as error:
        extra = EXTRAS.get(protocol, "remote")
        raise UsageError(f"{protocol}:// needs more ({error}): pip install 'openjepa[{extra}]'") from error
    except ValueError as error:
        raise UsageError(f"{protocol}:// is not known: s3://, gs://, http:// and https:// are ({error})") from error


@contextlib.contextmanager
def _as_os_error(path: str) -> Iterator[None]:
    """Turn what the libraries of object stores raise, which is as varied as they are, into OSError."""
    try:
        yield
    except UsageError:
        raise
    except Exception as error:
        if isinstance(error, FileNotFoundError) and error.__cause__ is None:
            raise FileNotFoundError(2, "no such file", path) from error
        why = error.__cause__ or error
        raise OSError(5, str(why).strip().split("\n")[0] or type(why).__name__, path) from error
