"""Which images a run has seen: hashes of their names in its folder, so that later lists can be compared with them."""

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from openjepa.data.dataset import ImageDataset, fingerprint
from openjepa.errors import UsageError
from openjepa.files import atomic_file, usage_error
from openjepa.interop.weights.files import read_safetensors, save_tensors

PATTERN = "images-*.safetensors"
SHORT = 16  # hexadecimal digits of the fingerprint in the name of the file


class Differences(NamedTuple):
    """How many names are only in the new list, and only in the one before."""

    new: int
    gone: int


def names_file(folder: Path, paths: str) -> Path:
    """The file for the images whose fingerprint is `paths`."""
    return folder / PATTERN.replace("*", paths[:SHORT])


def write_names(folder: Path, dataset: ImageDataset) -> None:
    """Store the sorted hashes [n], int64, of the names of the images. Raises UsageError."""
    path = names_file(folder, fingerprint(dataset))
    with usage_error(path), atomic_file(path) as part:
        save_tensors({"names": torch.from_numpy(_hashes(dataset))}, part, None)


def remove_other_names(folder: Path, paths: str) -> None:
    """Delete the files of earlier lists."""
    for path in folder.glob(PATTERN):
        if path != names_file(folder, paths):
            path.unlink(missing_ok=True)


def compare_names(folder: Path, paths: str, dataset: ImageDataset) -> Differences | None:
    """How a list differs from the stored one of the fingerprint `paths`; None where that is not there or is damaged."""
    path = names_file(folder, paths)
    try:
        before = read_safetensors(path)["names"].numpy() if path.is_file() else None
    except (UsageError, KeyError):
        return None
    if before is None or before.dtype != np.int64 or before.ndim != 1:
        return None
    now = _hashes(dataset)
    return Differences(len(np.setdiff1d(now, before)), len(np.setdiff1d(before, now)))


def _hashes(dataset: ImageDataset) -> np.ndarray:
    """Sorted hashes of the names, int64 [n]; two of a billion names collide with a probability of 3 %."""
    digests = (
        hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest() for name in dataset.paths
    )
    return np.sort(np.frombuffer(b"".join(digests), np.int64))
