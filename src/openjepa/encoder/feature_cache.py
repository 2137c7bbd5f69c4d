"""Features on disk, computed once: each file is named by the content of the images and the weights of the model."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from openjepa.data.dataset import ImageDataset, ImageFiles
from openjepa.data.decoding.pixel_format import RGB
from openjepa.encoder.features import Model, read_by, require_some, stream_features
from openjepa.errors import BadImage, UsageError
from openjepa.process_group import barrier, on_rank_zero, rank, world_size

LAYOUT = 1  # raised when what is stored changes, so that older files are not taken for it
FEATURE_METHODS = {"embedding": "features", "layers": "layer_features", "tokens": "tokens"}


def content_hash(dataset: ImageDataset) -> str:
    """A hash of the bytes of all images in their order: of the files, or of the pixels of what is no file."""
    digest = hashlib.sha256()
    for index in range(len(dataset)):
        try:
            content = _file(dataset, index) if isinstance(dataset, ImageFiles) else dataset.load(index).tobytes()
        except BadImage as error:
            content = str(error).encode()
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()


def _file(dataset: ImageFiles, index: int) -> bytes:
    """The file, and which of its images is meant where it is not the first."""
    page = int(dataset.pages[index])
    return dataset.read(index) + (f"#{page}".encode() if page else b"")


def model_hash(model: Model) -> str:
    """A hash of all that a model's features depend on besides the images."""
    network = getattr(model, "network", None)
    about = [type(model).__name__, model.image_size]
    if network is None:
        return hashlib.sha256(repr([*about, vars(model)]).encode()).hexdigest()
    shape = network.arguments() if hasattr(network, "arguments") else repr(network)
    about += [shape, model.mean, model.std, model.precision, model.device.type]
    digest = hashlib.sha256(repr(about).encode())
    for name, value in network.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


class FeatureStore:
    """Features of any model on any images, streamed to files and read through memory maps.

    `folder` None: a temporary one, gone when the store is. Raises UsageError where nothing can be written.
    """

    def __init__(self, folder: Path | None, workers: int = 2) -> None:
        self._temporary = None if folder else tempfile.TemporaryDirectory(prefix="openjepa-features-")
        self.folder, self.workers = Path(folder or self._temporary.name), workers
        self.computed, self.reused = 0, 0
        self._hashes: dict[int, tuple[object, str]] = {}

    def hash(self, dataset: ImageDataset) -> str:
        """`content_hash`, taken once for each data set; one that knows its own (`content`) is believed."""
        if id(dataset) not in self._hashes:
            # kept with what it is the hash of, so that no other object can get the same id
            self._hashes[id(dataset)] = dataset, getattr(dataset, "content", None) or content_hash(dataset)
        return self._hashes[id(dataset)][1]

    def get(
        self,
        model: Model,
        dataset: ImageDataset,
        kind: str = "embedding",
        progress: Callable[[int, int], None] | None = None,
    ) -> tuple[Tensor, np.ndarray]:
        """Features [n, ...] float32 of a kind (embedding, layers or tokens), and the indices [n] of their images."""
        place, read = on_rank_zero(lambda: self._place(model, dataset, kind)), read_by(model, dataset)
        try:
            if on_rank_zero(lambda: (place / "kept.npy").is_file()):
                self.reused += 1
            else:
                self._write(place, model, read, kind, progress)
                self.computed += 1
            kept = np.load(place / "kept.npy")
            # copy on write: torch would warn of memory that it must not change
            return torch.from_numpy(np.load(place / "features.npy", mmap_mode="c")[: len(kept)]), kept
        except (OSError, ValueError) as error:
            if isinstance(error, UsageError):
                raise
            reachable = " that all processes can reach" if world_size() > 1 else ""
            raise UsageError(
                f"cannot keep features in {place} ({error}): make room, or name another --cache{reachable}"
            ) from error

    def _place(self, model: Model, dataset: ImageDataset, kind: str) -> Path:
        pixel_format = read_by(model, dataset).pixel_format
        how = [] if pixel_format == RGB else [asdict(pixel_format)]
        key = json.dumps([LAYOUT, kind, model_hash(model), self.hash(dataset), *how])
        return self.folder / hashlib.sha256(key.encode()).hexdigest()[:32]

    def _write(self, place: Path, model: Model, dataset: ImageDataset, kind: str, progress) -> None:
        """Every process computes its part; the first one puts them together and in their place."""
        if rank() == 0:
            place.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(on_rank_zero(lambda: tempfile.mkdtemp(prefix=".writing-", dir=place.parent)))
        try:
            part = rank(), world_size()
            chunks = stream_features(
                getattr(model, FEATURE_METHODS[kind]),
                model.image_size,
                dataset,
                self.workers,
                progress=progress,
                part=part,
            )
            write_part(aside / str(part[0]), chunks, len(dataset))
            barrier()
            if part[0] == 0:
                kept = join_parts(aside, part[1])
                require_some(kept, dataset)
                if not place.exists():  # another process may have been as quick
                    os.replace(aside, place)
            barrier()
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def write_part(folder: Path, chunks: Iterable[tuple[Tensor, list[int], Any]], most: int) -> None:
    """features.npy, of at most `most` rows, of which the first hold something, and kept.npy, the rows' images."""
    folder.mkdir()
    rows, kept = None, []
    for chunk, indices, _ in chunks:
        if rows is None and indices:
            shape = (most, *chunk.shape[1:])
            rows = np.lib.format.open_memmap(folder / "features.npy", "w+", np.float32, shape)
        if indices:
            rows[len(kept) : len(kept) + len(indices)] = chunk.numpy()
        kept += indices
    if rows is not None:
        rows.flush()
    np.save(folder / "kept.npy", np.array(kept, dtype=np.int64))


def join_parts(folder: Path, count: int) -> np.ndarray:
    """Append all parts to the first that has rows, whose file has room, and move it up; the images [n] of all rows."""
    kept = [np.load(folder / str(part) / "kept.npy") for part in range(count)]
    filled = [part for part in range(count) if len(kept[part])]
    if filled:
        os.replace(folder / str(filled[0]) / "features.npy", folder / "features.npy")
        rows, start = np.load(folder / "features.npy", mmap_mode="r+"), len(kept[filled[0]])
        for part in filled[1:]:
            chunk = np.load(folder / str(part) / "features.npy", mmap_mode="r")[: len(kept[part])]
            rows[start : start + len(chunk)] = chunk
            start += len(chunk)
        rows.flush()
    for part in range(count):
        shutil.rmtree(folder / str(part))
    np.save(folder / "kept.npy", np.concatenate(kept))
    return np.concatenate(kept)
