"""The columns of an index as codes or numbers for each image, by which a page colours and filters."""

from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from openjepa.errors import UsageError, quoted, unknown
from openjepa.exploring.collection import CLUSTER, NAMED, OUTLIER, Collection

MISSING = 255
OTHER = "other"
Type = Literal["category", "number", "time", "text"]


class Values(NamedTuple):
    """A column: uint8 codes [n] with the categories, or float32 values [n]; of texts their ranks in sorted order.

    Times are float64, because float32 would be wrong by up to a minute.
    """

    type: Type
    values: np.ndarray
    categories: list[str] | None = None


def type_of(collection: Collection, name: str) -> Type:
    """Raises UsageError for an unknown column."""
    if name not in collection.columns:
        raise UsageError(unknown("column", quoted(name), collection.columns))
    if name not in collection.kinds:
        return "category" if name == CLUSTER else "number"
    kind = collection.kinds[name]
    if pa.types.is_timestamp(kind):
        return "time"
    if not pa.types.is_string(kind):
        return "number"
    named = name == "folder" or name in collection.labels
    return "category" if named and name not in collection.texts else "text"


def read_column(collection: Collection, name: str) -> Values:
    """A column by its name. Raises UsageError for an unknown one."""
    kind = type_of(collection, name)
    if name not in collection.kinds:
        return _computed(collection, name)
    column = collection.index.values(name)
    if kind == "text":
        return _ranks(column)
    if kind == "category":
        return _categories(column)
    numbers = column.cast(pa.int64()) if kind == "time" else column
    exact = np.float64 if kind == "time" else np.float32
    values = np.array(numbers.cast(pa.float64()).to_numpy(zero_copy_only=False), exact)
    return Values(kind, values)


def _computed(collection: Collection, name: str) -> Values:
    if name == OUTLIER:
        return Values("number", collection.outlier_scores[0].astype(np.float32))
    cluster = collection.grouped.cluster
    names = [str(number + 1) for number in range(int(cluster.max()))]
    return Values("category", (cluster - 1).astype(np.uint8), names)


def _categories(column: pa.Array) -> Values:
    counted = pc.value_counts(column.drop_null())
    names, counts = counted.field("values").to_pylist(), counted.field("counts").to_numpy(zero_copy_only=False)
    order = sorted(range(len(names)), key=lambda place: (-counts[place], names[place]))
    named = [names[place] for place in order[:NAMED]]
    codes = pc.index_in(column, pa.array(named, pa.string())).to_numpy(zero_copy_only=False)
    found = np.where(np.isnan(codes) if codes.dtype.kind == "f" else False, NAMED, codes).astype(np.uint8)
    found[column.is_null().to_numpy(zero_copy_only=False)] = MISSING
    return Values("category", found, named + [OTHER] * (len(names) > NAMED))


def _ranks(column: pa.Array) -> Values:
    """The place of each text among all different ones in order, NaN where it is missing."""
    ranks = pc.rank(column, tiebreaker="dense").to_numpy(zero_copy_only=False).astype(np.float32) - 1
    ranks[column.is_null().to_numpy(zero_copy_only=False)] = np.nan
    return Values("text", ranks)


def bounds(values: np.ndarray) -> tuple[float | None, float | None]:
    """The least and the largest of numbers that are not missing."""
    there = values[np.isfinite(values)]
    return (float(there.min()), float(there.max())) if len(there) else (None, None)
