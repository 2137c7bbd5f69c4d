"""Files: cache folders, atomic writes, tables in Arrow and Parquet, rows in CSV, PNG pictures."""

import contextlib
import csv
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

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


def write_vectors(path: Path, names: list[str], vectors: np.ndarray) -> None:
    """Columns path (string) and vector (fixed-size list of float32 [D]), written whole or not at all; UsageError."""
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    _write_whole(path, lambda aside: pq.write_table(pa.table({"path": names, "vector": column}), aside))


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Sequence]) -> None:
    """A CSV file with a head line, UTF-8, written whole or not at all; UsageError."""

    def write(aside: Path) -> None:
        with aside.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(columns)
            writer.writerows(rows)

    _write_whole(path, write)


def _write_whole(path: Path, write: Callable[[Path], None]) -> None:
    aside = path.with_name(path.name + ".writing")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(aside)
        aside.rename(path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise UsageError(f"cannot write {path}: {error}") from error


def write_png(path: Path, picture: np.ndarray) -> None:
    """Write uint8 [H, W, 3]; raises UsageError unless the name ends in .png and the file can be written."""
    if path.suffix != ".png":
        raise UsageError(f"{path} is not a PNG file: give a name that ends in .png")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path, "PNG")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error}") from error
