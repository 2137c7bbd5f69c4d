"""Weights from files of other programs: no code in them is run, and what is not a tensor is refused."""

import json
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from openjepa.errors import UsageError

PICKLES = (".pth", ".pt", ".tar", ".bin", ".ckpt")
PT = {"format": "pt"}  # metadata of a file, without which transformers does not know whose tensors they are
INDEX = "model.safetensors.index.json"


def read_weights(path: Path) -> dict[str, Any]:
    """What a .safetensors file or a checkpoint of PyTorch holds; a pickle that wants code is refused (UsageError)."""
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if path.suffix not in PICKLES:
        raise UsageError(f"{path} is not a weights file: give .safetensors or one of {', '.join(PICKLES)}")
    content = _read_pickle(path)
    if not isinstance(content, dict):
        raise UsageError(f"{path} holds {type(content).__name__}, not weights: give a file with named tensors")
    return content


def read_folder(folder: Path) -> dict[str, Tensor]:
    """The tensors of a Hugging Face or timm folder, split over files or not; raises UsageError."""
    if (folder / INDEX).is_file():
        parts = sorted(set(read_json(folder / INDEX).get("weight_map", {}).values()))
        return {name: value for part in parts for name, value in _read_safetensors(folder / Path(part).name).items()}
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (folder / name).is_file():
            return read_weights(folder / name)
    raise UsageError(f"{folder} holds no model.safetensors: fetch its weights too")


def save_tensors(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = PT) -> None:
    """Write a safetensors file. Raises OSError."""
    try:
        save_file({name: value.contiguous() for name, value in tensors.items()}, path, metadata)
    except SafetensorError as error:  # a full disk too
        raise OSError(str(error)) from error


def read_json(path: Path) -> dict:
    """A JSON object; raises UsageError."""
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read ({error}): fetch it again") from error
    if not isinstance(value, dict):
        raise UsageError(f"{path} is no JSON object: fetch it again")
    return value


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise UsageError(f"{path} is damaged or no safetensors file ({first_line(error)}): fetch it again") from error


def _read_pickle(path: Path) -> Any:
    try:
        with warnings.catch_warnings(action="ignore"):  # torch's warnings repeat what the error states
            # Mapped, a checkpoint of many gigabytes costs no more memory than the tensors that are used.
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        raise UsageError(
            f"{path} is refused: it is damaged, or a pickle that asks to run code ({_wanted(error)}); "
            "convert it to safetensors where you trust it"
        ) from error
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise UsageError(f"{path} is damaged or no checkpoint ({first_line(error)}): fetch it again") from error


def _wanted(error: Exception) -> str:
    named = [line.strip() for line in str(error).splitlines() if "GLOBAL" in line or "Unsupported" in line]
    return (named or [str(error)])[0].split(". ")[0][:160]


def first_line(error: Exception) -> str:
    """The first sentence of an error, at most 160 characters."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].split(". ")[0][:160]
