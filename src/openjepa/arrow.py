"""Tables in cache files, in Arrow."""

import contextlib
import hashlib
from pathlib import Path

import pyarrow as pa

from openjepa.errors import UsageError
from openjepa.files import atomic_file, cache_folder


def cache_file(kind: str, *key: object) -> Path:
    """The Arrow file in the cache for a key; a version number of the layout belongs into the key."""
    name = hashlib.sha256(repr(key).encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return cache_folder(kind, f"{name}.arrow")


def optional_cache_file(kind: str, *key: object) -> Path | None:
    """`cache_file` for what only saves time: None where the user has no folder for a cache."""
    with contextlib.suppress(UsageError):
        return cache_file(kind, *key)
    return None


def save_tables(path: Path | None, *tables: pa.Table) -> None:
    """Keep tables in a cache file; nothing is raised on a full disk, since a cache only saves time."""
    if path is None:
        return
    with contextlib.suppress(OSError), atomic_file(path) as part, pa.OSFile(str(part), "wb") as sink:
        for table in tables:
            with pa.ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(table)


def load_tables(path: Path | None, count: int) -> list[pa.Table] | None:
    """The tables kept at `path`, memory-mapped, or None if there are none or the file is damaged."""
    if path is None:
        return None
    try:
        source = pa.memory_map(str(path))
        return [pa.ipc.open_stream(source).read_all() for _ in range(count)]
    except (OSError, pa.ArrowException):
        return None


def no_room(path: Path, error: OSError) -> UsageError:
    """The error to raise where the cache cannot hold what a command needs."""
    return UsageError(f"cannot write {path} ({error.strerror or error}): make room, or set OPENJEPA_CACHE elsewhere")
