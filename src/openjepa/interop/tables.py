"""Vectors in Parquet, rows in CSV."""

import csv
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from openjepa.errors import UsageError


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
