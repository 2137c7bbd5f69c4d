"""Images in tar archives, WebDataset shards among them: where each lies is found out once, then it is read in place."""

import os
import re
import tarfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO

import pyarrow as pa

from openjepa.arrow import load_tables, optional_cache_file, save_tables
from openjepa.data.storage.layout import is_image
from openjepa.data.storage.names import Names, printable
from openjepa.data.storage.remote import is_remote, open_file, state
from openjepa.data.storage.storage import NO_IMAGE, Skipped, is_hidden, leaves
from openjepa.data.storage.tar_reading import DamagedTar, is_compressed, members_of, open_tar
from openjepa.errors import UsageError
from openjepa.safety.limits import MAX_FILE_BYTES, MAX_MEMBER_BYTES

LAYOUT = 1
AT_ONCE = 8
NOT_IN_PLACE = (tarfile.LNKTYPE, tarfile.SYMTYPE)
MEMBERS = pa.schema(
    [("name", pa.large_binary()), ("start", pa.int64()), ("size", pa.int64()), ("label", pa.large_binary())]
)
SKIPPED = pa.schema([("name", pa.large_binary()), ("reason", pa.large_binary())])


@dataclass
class Shard:
    """The images of one tar in the order of their names: MEMBERS, and what is none."""

    members: pa.Table
    skipped: Skipped

    @property
    def names(self) -> Names:
        return Names(self.members["name"])


def index_shards(files: list[str], progress: Callable[[int, int], None] | None = None) -> list[Shard]:
    """The index of every tar, from the cache or read now. Raises UsageError naming those that are not there."""
    lock, done = threading.Lock(), 0

    def index(file: str) -> Shard | str:
        nonlocal done
        try:
            return _cached(file)
        except (OSError, tarfile.TarError) as error:
            reason = error.strerror if isinstance(error, OSError) else None
            return f"{file}: {reason or str(error)[:200] or 'not a tar archive'}"
        finally:
            with lock:
                done += 1
                if progress:
                    progress(done, len(files))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        shards = list(pool.map(index, files))
    bad = [found for found in shards if isinstance(found, str)]
    if bad:
        named = "; ".join(bad[:3]) + "; ..." * (len(bad) > 3)
        raise UsageError(
            printable(
                f"{len(bad):,} of {len(files):,} archives cannot be read ({named}): copy or fetch again, or leave out"
            )
        )
    return [found for found in shards if isinstance(found, Shard)]


def _cached(file: str) -> Shard:
    size, version = state(file)
    place = optional_cache_file("indexes", LAYOUT, file if is_remote(file) else os.path.realpath(file), size, version)
    tables = load_tables(place, 2)
    if tables:
        return Shard(
            tables[0], [(os.fsdecode(row["name"]), os.fsdecode(row["reason"])) for row in tables[1].to_pylist()]
        )
    with open_file(file) as stream:
        shard = read_index(stream, None if is_compressed(file) else size)
    rows = [{"name": os.fsencode(name), "reason": os.fsencode(reason)} for name, reason in shard.skipped]
    save_tables(place, shard.members, pa.Table.from_pylist(rows, SKIPPED))
    return shard


def read_index(stream: BinaryIO, size: int | None) -> Shard:
    """The index of a tar of `size` bytes (None: a compressed one, whose images keep their order).

    A truncated archive is indexed as far as it can be read. Raises OSError, tarfile.TarError.
    """
    compressed = size is None
    images: list[tuple[str, int, int]] = []
    labels: dict[str, bytes] = {}
    others: Skipped = []
    skipped: Skipped = []
    try:
        with open_tar(stream, compressed) as archive:
            for member in members_of(archive):
                _note(archive, member, size, images, labels, others, skipped)
            if not compressed:
                stream.seek(archive.offset)
                if len(stream.read(tarfile.BLOCKSIZE)) < tarfile.BLOCKSIZE:
                    skipped.append(("end of the archive", "no end mark (cut between two files, or never closed)"))
    except (DamagedTar, OSError) as error:
        if not images or (isinstance(error, OSError) and error.errno):
            raise
        skipped.append((f"after {images[-1][0]}", f"the archive ends in the middle ({error})"))
    keys = {key_of(name) for name, *_ in images}
    skipped += [(name, reason) for name, reason in others if key_of(name) not in keys]
    if not compressed:
        images.sort()
    columns = [[os.fsencode(name) for name, *_ in images], [s for _, s, _ in images], [n for *_, n in images]]
    found = [labels.get(key_of(name)) for name, *_ in images]
    return Shard(pa.table([*columns, found], MEMBERS), skipped)


def _note(archive, member, size, images: list, labels: dict, others: Skipped, skipped: Skipped) -> None:
    name = clean(member.name)
    if member.isdir() or is_hidden(name):
        return
    if not is_image(name):
        others.append((name, f"{NO_IMAGE} (suffix {PurePosixPath(name).suffix or 'none'})"))
        if name.endswith(".cls") and member.size <= 1000 and member.isfile():
            labels[key_of(name)] = archive.extractfile(member).read().strip()
    elif leaves(name):
        skipped.append((name, "points outside of the archive"))
    elif member.type in NOT_IN_PLACE:
        skipped.append((name, "a link inside of an archive"))
    elif not member.isfile() or member.issparse():
        skipped.append((name, "not a regular file"))
    elif member.size > (most := MAX_MEMBER_BYTES if size is None else MAX_FILE_BYTES).get():
        skipped.append((name, f"larger than is read ({member.size:,} bytes; {most.words()})"))
    elif size is not None and member.offset_data + member.size > size:
        skipped.append((name, "the archive ends in the middle of it"))
    else:
        images.append((name, member.offset_data, member.size))


def clean(name: str) -> str:
    return re.sub(r"\A(?:\./)+", "", name)


def key_of(name: str) -> str:
    """The key of a WebDataset sample: the path up to the first dot of its last part."""
    folder, _, last = name.rpartition("/")
    return f"{folder}/{last.split('.')[0]}"
