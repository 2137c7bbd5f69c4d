"""Hashes of what images contain; those of files are kept, and found again by path, size and time of change."""

import hashlib
import os
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from openjepa.arrow import load_tables, optional_cache_file, save_tables
from openjepa.data.dataset import ImageDataset, ImageFiles
from openjepa.data.storage.remote import is_remote
from openjepa.errors import BadImage

LAYOUT = 1
KEPT_FROM = 1_000  # images; fewer are read in no time
KEY_BYTES = 16
HASHES = pa.schema([("key", pa.binary(KEY_BYTES)), ("digest", pa.binary(32))])


def content_hash(dataset: ImageDataset, verify: bool = False) -> str:
    """A hash of all images in their order: of the bytes of files, or of pixels where images are not files.

    Files whose path, size and time of change are those of an earlier time are not read, unless `verify` is set.
    """
    digest = hashlib.sha256()
    for part in _of_files(dataset, verify) if isinstance(dataset, ImageFiles) else _of_pixels(dataset):
        digest.update(part)
    return digest.hexdigest()


def _of_pixels(dataset: ImageDataset) -> Iterator[bytes]:
    for index in range(len(dataset)):
        try:
            yield hashlib.sha256(dataset.load(index).tobytes()).digest()
        except BadImage as error:
            yield hashlib.sha256(str(error).encode()).digest()


def _of_files(dataset: ImageFiles, verify: bool) -> Iterator[bytes]:
    kept = len(dataset) >= KEPT_FROM
    keys = [_key(dataset, index) if kept else None for index in range(len(dataset))]
    memory = _Memory(dataset.source) if kept else None
    known = memory.find(keys) if memory and not verify else [None] * len(keys)
    fresh: dict[bytes, bytes] = {}
    for index, (key, found) in enumerate(zip(keys, known, strict=True)):
        try:
            digest = found or dataset.digest(index)
            if key and not found:
                fresh[key] = digest
        except BadImage as error:
            digest = hashlib.sha256(str(error).encode()).digest()
        yield digest
    if memory and fresh:
        memory.add(fresh, len(dataset))


def _key(dataset: ImageFiles, index: int) -> bytes | None:
    version = dataset.version(index)
    return None if version is None else hashlib.blake2b(version.encode(), digest_size=KEY_BYTES).digest()


class _Memory:
    """The digests of the files of a source that were computed earlier, by key."""

    def __init__(self, source: str) -> None:
        self.place = optional_cache_file("hashes", LAYOUT, source if is_remote(source) else os.path.abspath(source))
        tables = load_tables(self.place, 1)
        self.table = tables[0] if tables and tables[0].schema == HASHES else HASHES.empty_table()

    def find(self, keys: Sequence[bytes | None]) -> list[bytes | None]:
        rows = pc.index_in(pa.array(keys, HASHES.field("key").type), self.table["key"], skip_nulls=True)
        return self.table["digest"].take(rows).to_pylist() if len(self.table) else [None] * len(keys)

    def add(self, fresh: dict[bytes, bytes], images: int) -> None:
        """Keep these too; earlier ones are dropped where they would be most, since files may have changed since."""
        new = pa.table([list(fresh), list(fresh.values())], HASHES)
        old = self.table.filter(pc.invert(pc.is_in(self.table["key"], new["key"])))
        save_tables(self.place, pa.concat_tables([new, old[: 2 * images]]))
