"""Vectors in Parquet."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from openjepa.errors import UsageError


def write_vectors(path: Path, names: list[str], vectors: np.ndarray) -> None:
    """Columns path (string) and vector (fixed-size list of float32 [D]), written whole or not at all; UsageError."""
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    aside = path.with_name(path.name + ".writing")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"path": names, "vector": column}), aside)
        aside.rename(path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise UsageError(f"cannot write {path}: {error}") from error
