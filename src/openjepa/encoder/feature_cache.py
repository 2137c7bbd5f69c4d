"""Features on disk, computed once: each file is named by a hash of the images and of the model's weights."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from openjepa.data.dataset import ImageDataset
from openjepa.data.decoding.pixel_format import RGB
from openjepa.encoder.baselines import PatchPixels
from openjepa.encoder.content_hashes import content_hash
from openjepa.encoder.cropped import Cropped
from openjepa.encoder.encoder import Encoder
from openjepa.encoder.features import (
    Model,
    Progress,
    Skipped,
    compute_features,
    frame_of,
    no_progress,
    only_finite,
    read_by,
    require_some,
    stream_features,
)
from openjepa.encoder.foreign import ForeignEncoder, is_own
from openjepa.encoder.joined import Ensemble
from openjepa.errors import BadImage, UsageError
from openjepa.files import write_json
from openjepa.files.temporary import temporary
from openjepa.models.vit import VisionTransformer
from openjepa.ranks import barrier, on_rank_zero, rank, world_size
from openjepa.safety.limited import ReaderFailed
from openjepa.safety.schema import read_json

SKIPPED = "skipped.json"
LAYOUT = 1  # raised when the stored layout changes, so that older files are not read


def model_hash(model: Model, arithmetic: bool = True) -> str:
    """A hash of all that a model's features depend on besides the images; without `arithmetic`, up to rounding."""
    if isinstance(model, Cropped):
        return hashlib.sha256(f"{model_hash(model.whole, arithmetic)} {model.crops} crops".encode()).hexdigest()
    about: list[object] = [type(model).__name__, model.image_size]
    if not isinstance(model, Encoder):
        return hashlib.sha256(repr([*about, vars(model)]).encode()).hexdigest()
    network = model.network
    shape = network.arguments() if isinstance(network, VisionTransformer) else str(network)
    about += [shape, model.mean, model.std, *([model.precision, model.device.type] if arithmetic else [])]
    about += [model.max_stretch] if model.max_stretch else []
    about += [model.frame, model.pooling] if isinstance(model, ForeignEncoder) else []
    about += [model.frame] if isinstance(model, Ensemble) else []
    digest = hashlib.sha256(repr(about).encode())
    for name, value in model.network.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def feature_function(model: Model, kind: str) -> Callable[[Tensor], Tensor]:
    """What computes features of a kind: embedding, layers (our encoders alone) or tokens."""
    if kind == "layers" and is_own(model):
        return model.layer_features
    if kind == "tokens" and isinstance(model, Encoder | PatchPixels):
        return model.tokens
    if kind == "embedding":
        return model.features
    raise TypeError(f"{model.name} has no features of the kind {kind}")


class FeatureStore:
    """Features of any model on any images, streamed to files and read through memory maps.

    `folder` None: features are computed each time, and held in memory. `workers` processes read images (0: none).
    `verify`: images are read to be recognised, even where path, size and time of change of their files are known.
    """

    def __init__(self, folder: Path | None, workers: int = 2, verify: bool = False) -> None:
        self.folder, self.workers, self.verify = folder, workers, verify
        self.computed, self.reused = 0, 0
        self._hashes: dict[int, tuple[ImageDataset, str]] = {}  # with their data set, so that no other gets its id
        self._left_out: dict[int, tuple[ImageDataset, Skipped]] = {}

    def hash(self, dataset: ImageDataset) -> str:
        """`content_hash`, computed once for each data set."""
        if id(dataset) not in self._hashes:
            self._hashes[id(dataset)] = dataset, content_hash(dataset, self.verify)
        return self._hashes[id(dataset)][1]

    def left_out(self, dataset: ImageDataset) -> Skipped:
        """(path, reason) of the images of a data set that could not be decoded when features of it were asked for."""
        return self._left_out.get(id(dataset), (dataset, []))[1]

    def derive(self, dataset: ImageDataset, base: ImageDataset, change: str) -> None:
        """Note that a data set is `base` with a change, so that its images need not be computed for their hash."""
        self._hashes[id(dataset)] = dataset, f"{self.hash(base)}:{change}"

    def get(
        self, model: Model, dataset: ImageDataset, kind: str = "embedding", progress: Progress = no_progress
    ) -> tuple[Tensor, np.ndarray]:
        """Features [n, ...] float32 of a kind (embedding, layers or tokens), and the indices [n] of their images.

        Raises UsageError if no image can be read, or where features cannot be written.
        """
        if self.folder is None:
            self.computed += 1
            features, kept, skipped = compute_features(
                model, dataset, self.workers, progress=progress, compute=feature_function(model, kind)
            )
            self._left_out[id(dataset)] = dataset, skipped
            return features, kept
        folder, read = self.folder, read_by(model, dataset)
        place = on_rank_zero(lambda: folder / self._name(model, dataset, kind))
        try:
            if on_rank_zero(lambda: (place / "kept.npy").is_file()):
                self.reused += 1
            else:
                place = self._write(place, model, read, kind, progress)
                self.computed += 1
            kept = np.load(place / "kept.npy")
            self._left_out[id(dataset)] = dataset, _stored_skipped(place)
            # copy on write, because torch warns of memory that cannot be written
            return torch.from_numpy(np.load(place / "features.npy", mmap_mode="c")[: len(kept)]), kept
        except UsageError:
            raise
        except (OSError, ValueError) as error:
            reachable = " that all processes can reach" if world_size() > 1 else ""
            raise UsageError(
                f"cannot keep features in {place} ({error}): make room, or name another folder{reachable} "
                "with --cache or OPENJEPA_CACHE"
            ) from error

    def _name(self, model: Model, dataset: ImageDataset, kind: str) -> str:
        pixel_format = read_by(model, dataset).pixel_format
        how = [] if pixel_format == RGB else [asdict(pixel_format)]
        key = json.dumps([LAYOUT, kind, model_hash(model), self.hash(dataset), *how])
        return hashlib.sha256(key.encode()).hexdigest()[:32]

    def _write(self, place: Path, model: Model, dataset: ImageDataset, kind: str, progress: Progress) -> Path:
        """Every process computes its part; the first one joins them and moves them into place, which is returned.

        Where an image was left out for a reason that may pass, the place is another one, that is not found again.
        """
        if rank() == 0:
            place.parent.mkdir(parents=True, exist_ok=True)
        aside = on_rank_zero(lambda: temporary(place))
        part, how = (rank(), world_size()), (feature_function(model, kind), frame_of(model), dataset, self.workers)
        try:
            chunks = only_finite(stream_features(*how, progress=progress, part=part), model, dataset)
            write_part(aside / str(part[0]), chunks, len(dataset))
            barrier()
            return Path(on_rank_zero(lambda: str(_settle(aside, place, dataset))))
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def _settle(aside: Path, place: Path, dataset: ImageDataset) -> Path:
    """Join the parts and move them to where they belong."""
    kept = join_parts(aside, world_size())
    require_some(kept, dataset)
    passing = place.with_name(f"{place.name}-passing")
    shutil.rmtree(passing, ignore_errors=True)
    lost = np.setdiff1d(np.arange(len(dataset)), kept)
    place = place if all(_stays_damaged(dataset, int(index)) for index in lost) else passing
    if not place.exists():  # another command may have written it meanwhile
        os.replace(aside, place)
    return place


def _stays_damaged(dataset: ImageDataset, index: int) -> bool:
    """Whether an image cannot be decoded because of what is in it, and not because of the system or a library."""
    try:
        dataset.load(index)
    except BadImage as error:
        cause = error.__cause__
        return not (isinstance(cause, ImportError | MemoryError | ReaderFailed) or getattr(cause, "errno", None))
    return False


def _stored_skipped(place: Path) -> Skipped:
    """(path, reason) of the images left out of stored features; [] of those that an older version stored."""
    file = place / SKIPPED
    found = read_json(file, list[tuple[str, str]], "delete it") if file.is_file() else []
    return [(path, reason) for path, reason in found]


def write_part(folder: Path, chunks: Iterable[tuple[Tensor, list[int], Any]], most: int) -> None:
    """Write features.npy, of which the first rows are filled (`most` at most), and kept.npy, the images of these.

    SKIPPED lists (path, reason) of the others.
    """
    folder.mkdir(parents=True)
    kept: list[int] = []
    skipped: Skipped = []
    # Not by way of mapped memory, where a full disk ends the process.
    with (folder / "features.npy").open("wb") as file:
        for chunk, indices, bad in chunks:
            if indices and not kept:
                about = {"descr": "<f4", "fortran_order": False, "shape": (most, *chunk.shape[1:])}
                np.lib.format.write_array_header_1_0(file, about)
                size = file.tell() + most * chunk[0].numel() * chunk.element_size()
            if indices:
                file.write(np.ascontiguousarray(chunk.numpy(), "<f4").data)
            kept += indices
            skipped += bad
        if kept:
            file.truncate(size)
    np.save(folder / "kept.npy", np.array(kept, dtype=np.int64))
    write_json(folder / SKIPPED, skipped)


def join_parts(folder: Path, count: int) -> np.ndarray:
    """Append all parts to the first that has rows, whose file is large enough, and move it up; the images [n]."""
    kept = [np.load(folder / str(part) / "kept.npy") for part in range(count)]
    skipped = [entry for part in range(count) for entry in _stored_skipped(folder / str(part))]
    filled = [part for part in range(count) if len(kept[part])]
    if filled:
        os.replace(folder / str(filled[0]) / "features.npy", folder / "features.npy")
        rows = np.load(folder / "features.npy", mmap_mode="r")
        with (folder / "features.npy").open("r+b") as file:
            file.seek(rows.offset + len(kept[filled[0]]) * rows[0].nbytes)
            for part in filled[1:]:
                file.write(np.load(folder / str(part) / "features.npy", mmap_mode="r")[: len(kept[part])])
    for part in range(count):
        shutil.rmtree(folder / str(part))
    write_json(folder / SKIPPED, skipped)
    np.save(folder / "kept.npy", np.concatenate(kept))
    return np.concatenate(kept)
