"""Weights from files of other programs: no code in them is run, and what is not a tensor is refused."""

import os
import struct
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from openjepa.errors import UsageError
from openjepa.interop.weights.pickles import first_line, is_dense, memory, read_pickle
from openjepa.safety.schema import Count, Json, Name, Schema, checked, parse_json, read_json, shortened

PICKLES = (".pth", ".pt", ".tar", ".bin", ".ckpt")
PT = {"format": "pt"}  # metadata of a file, without which transformers does not know whose tensors they are
INDEX = "model.safetensors.index.json"
FETCH = "fetch it again"
MOST_HEADER, MOST_TENSORS = 2**22, 20_000  # bytes of a safetensors header; tensors in a file
MOST_SPARE = 2  # times that the tensors of a set may be larger than the memory they share


class TensorHeader(Schema):
    """A tensor in the header of a safetensors file."""

    dtype: Annotated[str, Field(max_length=20)]
    shape: Annotated[tuple[Count, ...], Field(max_length=8)]
    data_offsets: tuple[Count, Count]


class Index(Schema):
    """model.safetensors.index.json: which file holds a tensor."""

    weight_map: Annotated[dict[Name, Annotated[Name, Field(min_length=1)]], Field(max_length=MOST_TENSORS)]


Metadata = dict[Name, Annotated[str, Field(max_length=2**20)]]
Header = dict[Name, TensorHeader | Metadata]  # the metadata of a file is called __metadata__


def read_weights(path: Path) -> dict[str, Any]:
    """What a .safetensors file or a checkpoint of PyTorch holds; a pickle that wants code is refused (UsageError)."""
    if path.suffix != ".safetensors" and path.suffix not in PICKLES:
        raise UsageError(f"{path} is not a weights file: give .safetensors or one of {', '.join(PICKLES)}")
    if path.exists() and not path.is_file():
        raise UsageError(f"{path} is not a regular file: give a weights file")
    if path.suffix == ".safetensors":
        return read_safetensors(path)
    content = read_pickle(path)
    if not isinstance(content, dict):
        raise UsageError(f"{path} holds {type(content).__name__}, not weights: give a file with named tensors")
    return content


def read_folder(folder: Path) -> dict[str, Tensor]:
    """The tensors of a Hugging Face or timm folder, split over files or not; raises UsageError."""
    if (folder / INDEX).is_file():
        parts = sorted({Path(part).name for part in read_json(folder / INDEX, Index, FETCH).weight_map.values()})
        return {name: value for part in parts for name, value in read_safetensors(folder / part).items()}
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (folder / name).is_file():
            return read_weights(folder / name)
    raise UsageError(f"{folder} holds no model.safetensors: fetch its weights too")


def read_facts(path: Path) -> dict[str, Any]:
    """A JSON object of any content; raises UsageError."""
    return read_json(path, dict[str, Json], FETCH)


def save_tensors(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = PT) -> None:
    """Write a safetensors file. Raises OSError."""
    try:
        save_file({name: value.contiguous() for name, value in tensors.items()}, path, metadata)
    except SafetensorError as error:  # a full disk too
        raise OSError(str(error)) from error


def read_safetensors(path: Path, what_to_do: str = FETCH) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name, mapped into memory; its header is checked first. UsageError."""
    if path.exists() and not path.is_file():
        raise UsageError(f"{path} is not a regular file: {what_to_do}")
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:  # the library opens no such file
        raise UsageError(f"the name of {path} is not valid UTF-8, so it cannot be read: rename it") from None
    try:
        _check_header(path, what_to_do)
        return load_file(path)
    except UsageError:
        raise
    except Exception as error:  # the library raises its own, torch's and the system's
        reason = first_line(error)
        raise UsageError(f"{path} is damaged or no safetensors file ({reason}): {what_to_do}") from error


def _check_header(path: Path, what_to_do: str) -> None:
    """Raise UsageError for a header that is too large or malformed, before the library reads it whole."""
    with path.open("rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        if size > MOST_HEADER:
            raise ValueError(f"its header claims {size:,} bytes, the most is {MOST_HEADER:,}")
        header = parse_json(file.read(size), dict[str, Json], str(path), what_to_do)
    if len(header) > MOST_TENSORS:
        raise ValueError(f"it holds {len(header):,} tensors, the most is {MOST_TENSORS:,}")
    checked(Header, header, str(path), what_to_do)


def tensors_of(state: object, what: str) -> dict[str, Tensor]:
    """`state` if it is named tensors, plain ones in memory; raises UsageError."""
    named = isinstance(state, dict) and all(isinstance(v, Tensor) and isinstance(k, str) for k, v in state.items())
    if not isinstance(state, dict) or not state or not named:
        give = "give weights of I-JEPA or of a plain vision transformer"
        raise UsageError(f"{what} is not a set of named tensors: {give}")
    if len(state) > MOST_TENSORS or any(len(name) > 1000 for name in state):
        raise UsageError(f"{what} has more or longer names of tensors than a vision transformer: it cannot be used")
    odd = [name for name, value in state.items() if not is_plain(value)]
    if odd or sum(map(_bytes, state.values())) > MOST_SPARE * sum(memory(state.values()).values()):
        which = shortened(odd[0]) if odd else "many in the memory of one"
        raise UsageError(f"{what} has tensors that are not stored plainly ({which}): it cannot be used")
    return {name: value.detach() for name, value in state.items()}


def is_plain(value: Tensor) -> bool:
    """Whether a tensor is dense, on the CPU, and all of its values are stored."""
    if type(value) not in (Tensor, torch.nn.Parameter) or not is_dense(value) or value.is_quantized:
        return False
    return _bytes(value) <= value.untyped_storage().nbytes()


def _bytes(value: Tensor) -> int:
    return value.numel() * value.element_size()
