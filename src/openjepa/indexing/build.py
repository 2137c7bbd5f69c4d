"""Bringing an index up to date: images that are new or have changed are embedded, those that are gone are dropped.

Under torchrun each process embeds every so manieth chunk of the images, and appends its rows to the one table.
"""

import hashlib
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, field, fields

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from openjepa.data.dataset import ImageDataset, ImageFiles
from openjepa.encoder.features import Model, Progress, Skipped, no_progress, read_by
from openjepa.indexing.engines.shards import Engine, Part, shards
from openjepa.indexing.facts import CHUNK, Looks, Seen
from openjepa.indexing.patch_tokens import PATCHES, Outputs, as_column
from openjepa.indexing.store import STAMP_BYTES, Store
from openjepa.ranks import barrier, on_rank_zero, rank, world_size
from openjepa.training.distributed import check_alike, everyones

SHARD = 1024  # images from which on rows are written, or fewer where their patch tokens take
SHARD_BYTES = 2**26


@dataclass
class Changes:
    """What a run did: images by what happened to them, and (path, reason) of those that were left out."""

    added: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0
    skipped: Skipped = field(default_factory=list)

    def __add__(self, other: "Changes") -> "Changes":
        return Changes(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))


@dataclass(frozen=True)
class Plan:
    """What is to be done for the images of a dataset.

    wanted   indices [w] to read, sorted: new images, and those whose stamp is not the one that the index has
    known    content hashes of those that the index has, by index
    gone     paths that the index has and the dataset does not
    stamps   [n], None where an image must be read to be recognised
    """

    wanted: np.ndarray
    known: dict[int, str]
    gone: list[str]
    stamps: list[bytes | None]


def dimensions_of(model: Model, dataset: ImageDataset) -> int:
    """The length of a model's vectors, as computed of one black image."""
    channels = (model.pixel_format or dataset.pixel_format).channels
    return model.features(torch.zeros(1, channels, *model.frame.size, dtype=torch.uint8)).shape[1]


def plan(store: Store, dataset: ImageDataset) -> Plan:
    rows = store.read(["path", "stamp", "content_hash"])
    paths, have = pa.array([*dataset.paths], pa.string()), rows["path"]
    place = pc.fill_null(pc.index_in(paths, have), -1).to_numpy(zero_copy_only=False)
    first = np.zeros(len(paths), bool)
    first[np.unique(paths.to_numpy(zero_copy_only=False).astype(str), return_index=True)[1]] = True
    stamps = [stamp_of(dataset, index) for index in range(len(paths))]
    stored = rows["stamp"].take(pa.array(np.maximum(place, 0))).to_pylist() if len(rows) else [None] * len(paths)
    same = [
        there and new is not None and new == old for there, new, old in zip(place >= 0, stamps, stored, strict=True)
    ]
    wanted = np.flatnonzero(first & ~np.array(same, bool))
    hashes = rows["content_hash"].to_pylist()
    known = {int(index): hashes[place[index]] for index in wanted if place[index] >= 0}
    return Plan(wanted, known, have.filter(pc.invert(pc.is_in(have, paths))).to_pylist(), stamps)


def stamp_of(dataset: ImageDataset, index: int) -> bytes | None:
    """A hash of path, size and time of change of a file; None where only reading an image tells if it has changed."""
    version = dataset.version(index) if isinstance(dataset, ImageFiles) else None
    if version is None:
        return None
    return hashlib.blake2b(version.encode("utf-8", "surrogateescape"), digest_size=STAMP_BYTES).digest()


def update(
    store: Store,
    model: Model,
    dataset: ImageDataset,
    labels: pa.Table,
    engine: Engine,
    progress: Progress = no_progress,
) -> Changes:
    """Make the rows of an index those of a dataset, whose `labels` have a row for each image.

    A process that is killed loses the images of one shard at most, and the next run goes on from there; the same
    images give the same vectors however often a run was ended, and by however many processes. Raises UsageError.
    """
    dataset, patches = read_by(model, dataset), store.patches
    on_rank_zero(lambda: store.set_labels({field.name: field.type for field in labels.schema}))
    store.refresh()
    todo = plan(store, dataset)
    check_alike("images to embed", (len(todo.wanted), len(todo.gone)), "give all of them the same images")
    before, rows = len(store), _Rows(dataset, labels, todo.stamps)
    barrier()  # nothing changes before every process knows what there is to do
    on_rank_zero(lambda: store.remove(todo.gone))
    looks, changes = Looks(dataset, model.frame, todo.wanted, todo.known), Changes()
    chunks = np.unique(todo.wanted // CHUNK)[rank() :: world_size()].tolist()
    most = min(SHARD, SHARD_BYTES // patches.size) if patches else SHARD
    parts = engine(model, looks, chunks, patches)
    for seen, made in shards(_told(parts, progress, len(todo.wanted)), most):
        changes += _written(store, rows, seen, made, todo)
    changes = sum(everyones(changes), Changes(removed=len(todo.gone)))
    store.refresh()
    changes.removed += on_rank_zero(lambda: _settled(store, rows, todo, changes.skipped))
    store.refresh()
    changes.unchanged = before - changes.removed - changes.changed
    return changes


def _written(store: Store, rows: "_Rows", seen: Seen, made: Outputs, todo: Plan) -> Changes:
    """Write the rows of a shard."""
    replaced = sum(index in todo.known for index in seen.indices)
    if seen.indices:
        store.add(rows.of(seen, made), replace=replaced > 0)
    return Changes(added=len(seen.indices) - replaced, changed=replaced, skipped=seen.skipped)


def _settled(store: Store, rows: "_Rows", todo: Plan, skipped: Skipped) -> int:
    """What is left to do when all shards are written; how many images were removed that can be read no more."""
    lost = {path for path, _ in skipped}
    unreadable = [path for index in todo.known if (path := rows.dataset.paths[index]) in lost]
    store.remove(unreadable)
    rows.refresh(store)
    store.tidy()
    return len(unreadable)


def _told(parts: Iterator[Part], progress: Progress, total: int) -> Iterator[Part]:
    """Parts as they are, after progress was told how many images were looked at by all processes, about."""
    done = 0
    for part in parts:
        seen = part[0]
        done += (len(seen.indices) + len(seen.unchanged) + len(seen.skipped)) * world_size()
        progress(min(done, total), total)
        yield part


class _Rows:
    """The rows of a dataset's images."""

    def __init__(self, dataset: ImageDataset, labels: pa.Table, stamps: list[bytes | None]) -> None:
        self.dataset, self.labels, self.stamps = dataset, labels, stamps

    def of(self, seen: Seen, made: Outputs) -> pa.Table:
        """Rows of images as the table has them, in its order of columns."""
        paths = [self.dataset.paths[index] for index in seen.indices]
        columns = {name: [fact[name] for fact in seen.facts] for name in seen.facts[0]}
        columns |= {"path": paths, "folder": [posixpath.dirname(path) for path in paths]}
        columns |= {
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(made.vectors.numpy().ravel()), made.vectors.shape[1])
        }
        columns |= {} if made.patches is None else {PATCHES: as_column(made.patches)}
        return self._with(pa.table(columns), seen.indices)

    def _with(self, table: pa.Table, indices: list[int]) -> pa.Table:
        """A table of images with their stamps and labels."""
        stamps = pa.array([self.stamps[index] for index in indices], pa.binary(STAMP_BYTES))
        table = table.append_column("stamp", stamps)
        for name in self.labels.column_names:
            table = table.append_column(name, self.labels[name].take(pa.array(indices, pa.int64())))
        return table

    def refresh(self, store: Store) -> None:
        """Correct the stamps and labels of rows whose files were only touched, or whose labels are others now."""
        names = ["path", "stamp", *self.labels.column_names]
        have, all_paths = store.read(names), pa.array([*self.dataset.paths], pa.string())
        places = pc.index_in(have["path"], all_paths).combine_chunks()
        now = self._with(pa.table({"path": have["path"]}), places.to_pylist())
        other = np.zeros(len(have), bool)
        for name in names[1:]:
            old, new = have[name].combine_chunks(), now[name].combine_chunks()
            same = pc.or_(pc.fill_null(pc.equal(old, new), False), pc.and_(pc.is_null(old), pc.is_null(new)))
            other |= ~same.to_numpy(zero_copy_only=False)
        if other.any():
            store.change(now.filter(pa.array(other)))
