"""Arrow and Parquet files: their columns of images, and rows that can be read one by one without harm.

Imported by child processes, so it imports little.
"""

import contextlib
import json
import struct
from collections.abc import Container, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from openjepa.data.storage.names import printable
from openjepa.data.storage.remote import open_file
from openjepa.errors import UsageError
from openjepa.safety.limits import MAX_COLUMNS, MAX_ENTRIES, MAX_UNPACKED_RATIO, unpacked_bytes

ROWS = 64  # unpacked at once
AT_ONCE = 2**26  # bytes of rows
BUFFER = 2**20  # bytes of a column that are read at once
MAGIC = b"ARROW1\0\0"
CALLED = ("image", "images", "img", "imgs", "picture")  # columns that are meant to hold images
STRUCT = "bytes (binary) and path (text or null)"
BINARY = (pa.types.is_binary, pa.types.is_large_binary)


def features_of(schema: pa.Schema) -> dict[str, dict]:
    """Hugging Face's description of the columns, or {}."""
    try:
        found = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {name: about for name, about in found.items() if isinstance(about, dict)}
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        return {}


def image_column(schema: pa.Schema) -> str | None:
    """The first column that holds the bytes of files, one that Hugging Face calls an Image before others; or None."""
    fitting = [field.name for field in schema if _holds_files(field.type)]
    called = [name for name, about in features_of(schema).items() if about.get("_type") == "Image"]
    return next((name for name in (*called, *fitting) if name in fitting), None)


def unfit_column(schema: pa.Schema) -> str | None:
    """Says which column named as in CALLED has a type that cannot hold files, and which types can; None without one."""
    named = next((field for field in schema if field.name.casefold() in CALLED), None)
    if named is None or _holds_files(named.type):
        return None
    kind = printable(str(named.type))[:200]
    return f"its column {printable(named.name)} is {kind}, not binary (image files) or a struct of {STRUCT}"


def _holds_files(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        names = {kind.field(number).name: kind.field(number).type for number in range(kind.num_fields)}
        # Of images that all have no path, pyarrow gives the column of paths no type.
        kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_null)
        is_path = "path" in names and any(is_(names["path"]) for is_ in kinds)
        return is_path and any(is_(names.get("bytes", pa.null())) for is_ in BINARY)
    return any(is_(kind) for is_ in BINARY)


def check_columns(schema: pa.Schema) -> None:
    """Raises UsageError for more columns than a table can have here, or two of one name; ValueError for damage."""
    if len(schema) > MAX_COLUMNS.get():
        raise UsageError(f"it has {len(schema):,} columns ({MAX_COLUMNS.words()})")
    for field in schema:
        _check_names(field)
    twice = next((name for name in schema.names if len(schema.get_all_field_indices(name)) > 1), None)
    if twice is not None:
        raise UsageError(f"it has two columns {printable(twice)[:100]}")


def _check_names(field: pa.Field) -> None:
    """Raises UnicodeDecodeError for a name in a field that is no UTF-8."""
    str(field.name)
    if pa.types.is_nested(field.type):
        for number in range(field.type.num_fields):
            _check_names(field.type.field(number))


def open_arrow(file: str) -> pa.Table:
    """The rows of an uncompressed Arrow file or stream, memory-mapped, with every offset checked.

    Raises OSError, ValueError (UsageError among them), pa.ArrowException.
    """
    with _stream_of(file) as source:
        table = pa.ipc.open_stream(source).read_all()
    check_columns(table.schema)
    if len(table) > MAX_ENTRIES.get():
        raise UsageError(f"it has {len(table):,} rows ({MAX_ENTRIES.words()})")
    table.validate(full=True)
    return table


@contextlib.contextmanager
def _stream_of(file: str) -> Iterator[pa.MemoryMappedFile]:
    """A file at the start of its stream, which follows a mark in Arrow's file format."""
    source = pa.memory_map(file)
    if source.read(len(MAGIC)) != MAGIC:
        source.seek(0)
    yield source


def is_compressed(file: str) -> bool:
    """Whether any buffer of an Arrow file is compressed. Raises OSError, pa.ArrowException."""
    with _stream_of(file) as source:
        messages = iter(pa.ipc.MessageReader.open_stream(source).read_next_message, None)
        return any(_states_compression(memoryview(message.metadata)) for message in messages)


def _states_compression(message: memoryview) -> bool:
    """Of the metadata of one message, a Flatbuffer: https://arrow.apache.org/docs/format/Columnar.html."""

    def field(table: int, number: int) -> int:
        """Where field `number` of a table lies, 0 if it is not there."""
        vtable = table - struct.unpack_from("<i", message, table)[0]
        if vtable < 0 or 4 + 2 * number >= struct.unpack_from("<H", message, vtable)[0]:
            return 0
        offset = struct.unpack_from("<H", message, vtable + 4 + 2 * number)[0]
        return table + offset if offset else 0

    def follow(place: int) -> int:
        return place + struct.unpack_from("<I", message, place)[0]

    try:
        root = follow(0)
        kind, header = field(root, 1), field(root, 2)
        if not kind or not header or message[kind] not in (2, 3):  # a dictionary, a batch
            return False
        batch = follow(header)
        if message[kind] == 2:
            batch = follow(field(batch, 1))
        return field(batch, 3) != 0
    except (struct.error, IndexError) as error:
        raise pa.ArrowInvalid("damaged metadata") from error


def lists_paths(file: str) -> bool:
    """Whether a Parquet file has no column of images. For a child process. Raises OSError, pa.ArrowException."""
    with open_file(file) as stream:
        return image_column(_open_parquet(stream).schema_arrow) is None


def unfit_in(file: str, lists: Container[str]) -> str | None:
    """`unfit_column` of a Parquet file; None where a column of texts has one of the names `lists`, and so lists files.

    For a child process. Raises OSError, pa.ArrowException.
    """
    with open_file(file) as stream:
        schema = _open_parquet(stream).schema_arrow
    texts = [
        field.name for field in schema if not (pa.types.is_nested(field.type) or pa.types.is_primitive(field.type))
    ]
    return None if any(name.strip().lower() in lists for name in texts) else unfit_column(schema)


def unpack(file: str, place: str, size: int) -> None:
    """Write the rows of a Parquet or compressed Arrow file of `size` bytes to an uncompressed Arrow stream.

    For a child process: memory is not bounded here. Raises UsageError where more comes out than is allowed, OSError,
    pa.ArrowException.
    """
    with contextlib.ExitStack() as stack:
        if file.lower().endswith(".parquet"):
            parquet = _open_parquet(stack.enter_context(open_file(file)))
            schema, batches = parquet.schema_arrow, parquet.iter_batches(_rows_at_once(parquet), use_threads=False)
        else:
            reader = pa.ipc.open_stream(stack.enter_context(_stream_of(file)))
            schema, batches = reader.schema, iter(reader)
        check_columns(schema)
        sink = stack.enter_context(pa.OSFile(place, "wb"))
        writer = stack.enter_context(pa.ipc.new_stream(sink, schema))
        for batch in _bounded(batches, unpacked_bytes(size)):
            writer.write_batch(batch)


def _open_parquet(stream: Any) -> pq.ParquetFile:
    return pq.ParquetFile(stream, buffer_size=BUFFER, pre_buffer=False)


def _rows_at_once(parquet: pq.ParquetFile) -> int:
    """Fewer than ROWS where rows are large."""
    groups = [parquet.metadata.row_group(number) for number in range(parquet.metadata.num_row_groups)]
    rows, size = sum(group.num_rows for group in groups), sum(group.total_byte_size for group in groups)
    return max(1, min(ROWS, AT_ONCE * rows // max(1, size)))


def _bounded(batches: Iterator[pa.RecordBatch], most: int) -> Iterator[pa.RecordBatch]:
    """The batches, checked. Raises UsageError where they hold more than `most` bytes, or too many rows."""
    size = rows = 0
    for batch in batches:
        batch.validate(full=True)
        size, rows = size + batch.nbytes, rows + len(batch)
        if size > most:
            raise UsageError(f"it unpacks to more than {most:,} bytes; {MAX_UNPACKED_RATIO.variable} raises the limit")
        if rows > MAX_ENTRIES.get():
            raise UsageError(f"it has more rows than are read ({MAX_ENTRIES.words()})")
        yield batch


def read_columns(file: str) -> dict[str, list[Any]]:
    """The columns of plain values of a Parquet file. For a child process. Raises UsageError as `unpack` does."""
    with open_file(file) as stream:
        size = stream.seek(0, 2)
        parquet = _open_parquet(stream)
        schema = parquet.schema_arrow
        check_columns(schema)
        flat = [field.name for field in schema if not pa.types.is_nested(field.type)]
        rows = min(4096, 64 * _rows_at_once(parquet))
        batches = list(_bounded(parquet.iter_batches(rows, columns=flat, use_threads=False), unpacked_bytes(size)))
    return pa.Table.from_batches(batches).to_pydict() if batches else {name: [] for name in flat}
