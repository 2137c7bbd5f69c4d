"""A vector for each of many names, in a file for other programs: Parquet, CSV or an Excel workbook."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from openjepa.escaping import utf8
from openjepa.files.tables import write_parquet
from openjepa.files.workbook import write_workbook
from openjepa.files.writing import write_rows


def write_vectors(path: Path, names: Sequence[str], vectors: np.ndarray) -> None:
    """Write names [n] and vectors [n, D] float32 in the format of the path's suffix, whole or not at all.

    .parquet  columns path (string) and vector (float32 list of D)
    .csv      columns path, vector_0 to vector_{D - 1}: numbers with as many digits as give the same float32 again
    .xlsx     the same columns in the first sheet, a bold head that stays in view

    Raises UsageError for a file that cannot be written, and for more rows or columns than an Excel sheet has.
    """
    WRITERS[path.suffix](path, names, vectors)


def _write_parquet(path: Path, names: Sequence[str], vectors: np.ndarray) -> None:
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    write_parquet(path, pa.table({"path": [*map(utf8, names)], "vector": column}))


def _write_csv(path: Path, names: Sequence[str], vectors: np.ndarray) -> None:
    write_rows(path, _columns(vectors), ([name, *row] for name, row in zip(names, _digits(vectors), strict=True)))


def _write_xlsx(path: Path, names: Sequence[str], vectors: np.ndarray) -> None:
    rows = ([name, *map(float, row)] for name, row in zip(names, _digits(vectors), strict=True))
    write_workbook(path, _columns(vectors), rows, len(names), sheet="vectors")


def _columns(vectors: np.ndarray) -> list[str]:
    return ["path", *(f"vector_{number}" for number in range(vectors.shape[1]))]


def _digits(vectors: np.ndarray) -> Iterator[list[str]]:
    """Each row of float32 numbers as text, with the fewest digits that give the same numbers again."""
    return (row.astype(str).tolist() for row in vectors)


WRITERS: dict[str, Callable[[Path, Sequence[str], np.ndarray], None]] = {
    ".parquet": _write_parquet,
    ".csv": _write_csv,
    ".xlsx": _write_xlsx,
}
