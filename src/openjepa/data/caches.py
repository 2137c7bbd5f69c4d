"""What need not be found out twice: listings, indexes and unpacked tables, in a folder that may be deleted."""

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from openjepa.errors import UsageError


def cache_folder(kind: str) -> Path:
    """Below XDG_CACHE_HOME, or the home's .cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "openjepa" / kind


def cache_file(kind: str, *key: object) -> Path:
    """The place of what belongs to a key; raised versions of our own layouts belong into the key."""
    return cache_folder(kind) / (
        hashlib.sha256(repr(key).encode("utf-8", "surrogateescape")).hexdigest()[:32] + ".arrow"
    )


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` that takes its place if all goes well. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".writing-", dir=path.parent)
    os.close(handle)
    try:
        yield Path(name)
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


def save_tables(path: Path, *tables: pa.Table) -> None:
    """Keep tables if there is room; without a cache everything works, only slower."""
    with contextlib.suppress(OSError), written_whole(path) as aside, pa.OSFile(str(aside), "wb") as sink:
        for table in tables:
            with pa.ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(table)


def load_tables(path: Path, count: int) -> list[pa.Table] | None:
    """The tables kept at `path`, memory-mapped, or None if there are none or the file is damaged."""
    try:
        source = pa.memory_map(str(path))
        return [pa.ipc.open_stream(source).read_all() for _ in range(count)]
    except (OSError, pa.ArrowException):
        return None


def no_room(path: Path, error: OSError) -> UsageError:
    return UsageError(f"cannot write {path} ({error.strerror or error}): make room, or set XDG_CACHE_HOME elsewhere")
