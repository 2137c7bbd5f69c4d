"""Images in tar archives: one, or the shards of a WebDataset."""

import os
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from openjepa.data.dataset import UNLABELLED, ImageFiles
from openjepa.data.sources.labels import NONE
from openjepa.data.sources.registry import Progress
from openjepa.data.storage.layout import Layout, candidates, wrapping_folders
from openjepa.data.storage.names import Names
from openjepa.data.storage.remote import open_file
from openjepa.data.storage.split_path import locate
from openjepa.data.storage.storage import Ranges, Skipped, Storage, missing_inside, on_one_line
from openjepa.data.storage.streaming import Sequential
from openjepa.data.storage.tar_index import Shard, clean, index_shards
from openjepa.data.storage.tar_reading import is_compressed, members_of, open_tar
from openjepa.errors import UsageError
from openjepa.safety.limits import MAX_MEMBER_BYTES

ABOUT_ALL = ("after ", "end of ")  # begin reasons about an archive, not about a file in it


def takes(name: str) -> bool:
    place = locate(name)
    return place.suffix == ".tar" or is_compressed(place.file)


def open(name: str, progress: Progress = None) -> ImageFiles:
    """The images of a tar, as FILE.tar or FILE.tar/FOLDER. Raises UsageError."""
    place = locate(name)
    return open_tars([place.file], place.shown, progress, place.inside)


def open_tars(files: list[str], shown: str, progress: Progress = None, inside: str = "") -> ImageFiles:
    """The images of tar archives, below the folder `inside` if there is one named; of several in the order of `files`.

    Compressed ones can only be streamed. Raises UsageError.
    """
    shards = index_shards(files, progress)
    members = _all_members(shards, homes(files))
    if inside:
        members = _below(members, inside, files[0])
    chosen, others = candidates(Names(members["path"]), shown)
    streams = any(map(is_compressed, files))
    members = members.take(pa.array(np.sort(chosen) if streams else chosen))
    names = Names(members["name"])
    layout = Layout(names, wrapping_folders(names))
    layout.refuse_splits(shown)
    labels = class_numbers(members["label"])
    skipped = on_one_line(_skipped(shards, homes(files), inside)) + others
    storage = _storage(files, members, inside, streams)
    return ImageFiles(
        shown, storage, Names(members["path"]), *(labels if labels[0] else layout.classes()), skipped=skipped
    )


def homes(files: list[str]) -> list[str]:
    """What is put before the names of each archive's images: nothing if there is but one."""
    if len(files) == 1:
        return [""]
    short = [os.path.basename(file) for file in files]
    return [f"{home}/" for home in (short if len(set(short)) == len(files) else files)]


def _all_members(shards: list[Shard], prefixes: list[str]) -> pa.Table:
    """MEMBERS of all shards with their `path`, shard and name, and the number of the shard, `owner`."""
    parts = []
    for number, (shard, prefix) in enumerate(zip(shards, prefixes, strict=True)):
        part = shard.members.append_column("path", [shard.names.below(prefix).array])
        parts.append(part.append_column("owner", [pa.array(np.full(len(part), number, np.int32))]))
    return pa.concat_tables(parts)


def _below(members: pa.Table, inside: str, file: str) -> pa.Table:
    """The members of one archive below a folder, by their names from there on."""
    names = Names(members["name"])
    within = names.starts(inside + "/")
    if not within.any():
        raise UsageError(missing_inside(names, inside, file))
    kept = members.filter(pa.array(within))
    inner = Names(kept["name"]).behind(len(os.fsencode(inside)) + 1).array
    for column in ("name", "path"):
        kept = kept.set_column(kept.schema.get_field_index(column), column, [inner])
    return kept


def _skipped(shards: list[Shard], prefixes: list[str], inside: str) -> Skipped:
    wanted = (inside + "/", *ABOUT_ALL) if inside else ("",)
    return [
        (prefix + name, reason)
        for shard, prefix in zip(shards, prefixes, strict=True)
        for name, reason in shard.skipped
        if name.startswith(wanted)
    ]


def _storage(files: list[str], members: pa.Table, inside: str, streams: bool) -> Storage:
    owners = members["owner"].to_numpy()
    if streams:
        names = Names(members["name"])
        return Sequential(_stream_all, files, owners, names.below(inside + "/") if inside else names)
    return Ranges(files, owners, members["start"].to_numpy(), members["size"].to_numpy())


def _stream_all(files: list[str], owners: np.ndarray, names: Names) -> Iterator[bytes]:
    """The bytes of named images one after another; `names` are in the order in which the archives hold them."""
    for number, file in enumerate(files):
        rows = np.flatnonzero(owners == number)
        if len(rows):
            yield from _stream(file, (names.raw(row) for row in rows))


def _stream(file: str, wanted: Iterator[str]) -> Iterator[bytes]:
    upcoming = next(wanted, None)
    with open_file(file) as stream, open_tar(stream, is_compressed(file)) as archive:
        for member in members_of(archive):
            content = archive.extractfile(member) if clean(member.name) == upcoming and member.isfile() else None
            if content:
                yield content.read() if member.size <= MAX_MEMBER_BYTES.get() else b""
                upcoming = next(wanted, None)


def class_numbers(labels: pa.ChunkedArray) -> tuple[dict[str, np.ndarray], dict[str, list[str]]]:
    """Labels from the .cls files of a WebDataset; none unless they differ. An image without one is UNLABELLED."""
    numbers = np.full(len(labels), UNLABELLED)
    labels = pc.if_else(pc.equal(labels, NONE.encode()), None, labels)
    has = labels.is_valid().to_numpy()
    if not has.any():
        return {}, {}
    codes, values = Names(labels.drop_null()).codes()
    if len(values) < 2:
        return {}, {}
    if not all(map(str.isdecimal, values)):
        numbers[has] = codes
        return {"class": numbers}, {"class": values}
    numbers[has] = np.argsort(np.argsort([int(value) for value in values]))[codes]
    return {"class": numbers}, {"class": sorted(values, key=int)}
