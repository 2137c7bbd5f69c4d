"""Lists of images of an index for embedding-atlas, which shows them on a map."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from openjepa.exploring.coordinates import best_method, coordinates
from openjepa.files.tables import write_parquet
from openjepa.indexing.searchable import FACTS, Searchable

NAME, SUFFIX = "embedding-atlas", ".parquet"
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def write_atlas(out: Path, index: Searchable, table: pa.Table) -> None:
    """Write a list with a column path as Parquet.

    Beside the columns of the list there are x and y (float32, of the map of the whole index), image (a struct of
    bytes, the WebP thumbnail, and path) and what the index knows of each image. A label of such a name is called
    label_x, label_y or label_image. Raises UsageError.
    """
    places = pc.index_in(table["path"], index.paths).to_numpy()
    points = coordinates(index, best_method(len(index)))[places]
    facts = index.rows_at(places, [name for name in (*FACTS, *index.labels) if name not in table.column_names])
    thumbnails = index.rows_at(places, ["thumbnail"])["thumbnail"].combine_chunks()
    image = pa.StructArray.from_arrays([thumbnails, table["path"].combine_chunks()], fields=[*IMAGE])
    columns = dict(zip(table.column_names, table.columns, strict=True))
    columns |= {"x": points[:, 0], "y": points[:, 1], "image": image}
    for name, column in zip(facts.column_names, facts.columns, strict=True):
        columns[f"label_{name}" if name in columns else name] = column
    write_parquet(out, pa.table(columns))
