"""Checkpoints of PyTorch, read under limits: no code in them is run, and little can be claimed that is not there."""

import io
import pickle
import warnings
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from openjepa.errors import UsageError

MOST_STRUCTURE = 2**21  # bytes of a checkpoint that are not tensors: a pickle grows fifty times in memory
MOST_BARE = 2**19  # the same of the format from before PyTorch 1.6
MOST_RECORDS = 50_000  # tensors in a checkpoint, an optimizer's among them
DEEPEST = 6


class BudgetedFile(io.BufferedReader):
    """A file of which only so many bytes can be read through Python; tensors are read through its descriptor."""

    def __init__(self, path: Path, most: int = MOST_STRUCTURE) -> None:
        super().__init__(io.FileIO(path))
        self.most = self.left = most

    def read(self, size: int | None = -1, /) -> bytes:
        most = self.left + 1
        return self._spend(super().read(most if size is None or size < 0 else min(size, most)))

    def readline(self, size: int | None = -1, /) -> bytes:
        return self._spend(super().readline(self.left + 1))

    def _spend(self, content: bytes) -> bytes:
        self.left -= len(content)
        if self.left < 0:
            raise ValueError(f"it holds more than {self.most:,} bytes that are not tensors")
        return content


def read_pickle(path: Path) -> Any:
    """What a checkpoint holds, in tensors, numbers, texts, lists and dictionaries; raises UsageError."""
    try:
        with warnings.catch_warnings(action="ignore"):  # torch's warnings repeat what the error states
            content = _load(path)
        if sum(memory(_dense(content)).values()) > path.stat().st_size:
            raise ValueError("its tensors are larger than the file")
        return content
    except pickle.UnpicklingError as error:
        raise UsageError(
            f"{path} is refused: it is damaged, or a pickle that asks to run code ({_wanted(error)}); "
            "convert it to safetensors where you trust it"
        ) from error
    except Exception as error:  # what torch raises for damaged files is of any kind
        raise UsageError(f"{path} is damaged or no checkpoint ({first_line(error)}): fetch it again") from error


def _load(path: Path) -> Any:
    if not zipfile.is_zipfile(path):
        with BudgetedFile(path, MOST_BARE) as file:
            return torch.load(file, map_location="cpu", weights_only=True)
    _check_archive(path)
    # Mapped, a checkpoint of many gigabytes costs no more memory than the tensors that are used.
    return torch.load(path, map_location="cpu", weights_only=True, mmap=True)


def _check_archive(path: Path) -> None:
    """Raise ValueError for an archive that is compressed, or has more in it than tensors and a small pickle."""
    with BudgetedFile(path) as file, zipfile.ZipFile(file) as archive:
        records = archive.infolist()
    if len(records) > MOST_RECORDS:
        raise ValueError(f"it holds {len(records):,} records, the most is {MOST_RECORDS:,}")
    if any(record.compress_type != zipfile.ZIP_STORED for record in records):
        raise ValueError("its records are compressed")
    structure = sum(record.file_size for record in records if "/data/" not in record.filename)
    if structure > MOST_STRUCTURE:
        raise ValueError(f"it holds {structure:,} bytes that are not tensors, the most is {MOST_STRUCTURE:,}")


def _dense(content: Any, depth: int = 0) -> Iterator[Tensor]:
    """The tensors with memory of their own in nested dictionaries and lists."""
    if isinstance(content, Tensor):
        if is_dense(content):
            yield content
    elif depth < DEEPEST and isinstance(content, dict | list | tuple):
        for part in content.values() if isinstance(content, dict) else content:
            yield from _dense(part, depth + 1)


def is_dense(value: Tensor) -> bool:
    """Whether a tensor lies in memory of the CPU with a stride for each dimension."""
    return value.layout == torch.strided and value.device.type == "cpu" and not value.is_nested


def memory(tensors: Iterable[Tensor]) -> dict[int, int]:
    """Bytes of each memory that tensors lie in, by its address."""
    found: dict[int, int] = {}
    for storage in (value.untyped_storage() for value in tensors):
        found[storage.data_ptr()] = max(storage.nbytes(), found.get(storage.data_ptr(), 0))
    return found


def first_line(error: Exception) -> str:
    """The first sentence of an error, at most 160 characters."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].split(". ")[0][:160]


def _wanted(error: Exception) -> str:
    named = [line.strip() for line in str(error).splitlines() if "GLOBAL" in line or "Unsupported" in line]
    return (named or [str(error)])[0].split(". ")[0][:160]
