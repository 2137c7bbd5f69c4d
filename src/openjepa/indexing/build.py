"""Bringing an index up to date: images that are new or have changed are embedded, those that are gone are dropped."""

import hashlib
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from openjepa.data.batches import in_order
from openjepa.data.dataset import ImageDataset, ImageFiles
from openjepa.data.workers import workers_for
from openjepa.encoder.features import NOT_FINITE, Model, Progress, Skipped, no_progress, read_by
from openjepa.errors import UsageError
from openjepa.indexing.facts import CHUNK, Looks, Seen
from openjepa.indexing.patch_tokens import PATCHES, Outputs, PatchGrid, as_column, outputs
from openjepa.indexing.store import STAMP_BYTES, Store

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
    workers: int = 2,
    progress: Progress = no_progress,
) -> Changes:
    """Make the rows of an index those of a dataset, whose `labels` have a row for each image.

    A process that is killed loses the images of one shard at most, and the next run goes on from there; the same
    images give the same vectors however often a run was ended. Raises UsageError.
    """
    dataset, patches = read_by(model, dataset), store.patches
    store.set_labels({field.name: field.type for field in labels.schema})
    todo = plan(store, dataset)
    before, changes = len(store), Changes(removed=len(todo.gone))
    store.remove(todo.gone)
    rows, unchanged = _Rows(dataset, labels, todo.stamps), []
    for seen, made in _embedded(model, dataset, todo, patches, workers, progress):
        changes.skipped += seen.skipped
        unchanged += seen.unchanged
        if seen.indices:
            replaced = sum(index in todo.known for index in seen.indices)
            store.add(rows.of(seen, made), replace=replaced > 0)
            changes.added, changes.changed = changes.added + len(seen.indices) - replaced, changes.changed + replaced
    lost = {path for path, _ in changes.skipped}
    unreadable = [path for index in todo.known if (path := dataset.paths[index]) in lost]
    store.remove(unreadable)
    changes.removed += len(unreadable)
    changes.unchanged = before - changes.removed - changes.changed
    rows.refresh(store)
    store.tidy()
    return changes


def _embedded(
    model: Model, dataset: ImageDataset, todo: Plan, patches: PatchGrid | None, workers: int, progress: Progress
) -> Iterator[tuple[Seen, Outputs]]:
    """Shard by shard, what was seen of the images that are wanted, and what the model makes of those to be written."""
    looks, done = Looks(dataset, model.frame, todo.wanted, todo.known), 0
    most = min(SHARD, SHARD_BYTES // patches.size) if patches else SHARD
    shard: list[tuple[Seen, Outputs]] = []
    chunks = np.unique(todo.wanted // CHUNK).tolist()
    for chunk, seen in zip(chunks, in_order(looks, chunks, workers_for(dataset, workers)), strict=True):
        done += len(seen.indices) + len(seen.unchanged) + len(seen.skipped)
        shard.append(_finite(model, dataset, seen, patches))
        if sum(len(part.indices) for part, _ in shard) >= most or chunk == chunks[-1]:
            yield _joined(shard)
            shard = []
        progress(done, len(todo.wanted))


def _finite(model: Model, dataset: ImageDataset, seen: Seen, patches: PatchGrid | None) -> tuple[Seen, Outputs]:
    """A chunk with what the model makes of it, without the images whose vectors are not finite in float16."""
    if not seen.indices:
        return seen._replace(crops=torch.empty(0)), Outputs(torch.empty(0), None)
    made = outputs(model, seen.crops, patches)
    good = made.vectors.isfinite().all(dim=1)
    if not good.any():
        raise UsageError(f"{model.name} gives numbers that are not finite: its weights are damaged")
    lost = [(dataset.paths[index], NOT_FINITE) for index, fine in zip(seen.indices, good, strict=True) if not fine]
    kept = [row for row, fine in enumerate(good) if fine]
    indices, facts = [seen.indices[row] for row in kept], [seen.facts[row] for row in kept]
    return Seen(torch.empty(0), indices, facts, seen.unchanged, seen.skipped + lost), made.at(good)


def _joined(shard: list[tuple[Seen, Outputs]]) -> tuple[Seen, Outputs]:
    parts = [seen for seen, _ in shard]
    lists = (list(chain.from_iterable(part[place] for part in parts)) for place in range(1, len(Seen._fields)))
    made = [made for seen, made in shard if seen.indices]
    vectors = torch.cat([part.vectors for part in made]) if made else torch.empty(0)
    patches = [part.patches for part in made if part.patches is not None]
    return Seen(torch.empty(0), *lists), Outputs(vectors, torch.cat(patches) if patches else None)


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
