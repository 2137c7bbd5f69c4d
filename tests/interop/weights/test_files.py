"""Safetensors files with a header that lies, and folders whose JSON does, are refused with one line."""

import json
import struct

import pytest
import torch
from safetensors.torch import save_file

from openjepa.errors import UsageError
from openjepa.interop.weights.files import INDEX, read_folder, read_weights

GOOD = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def write(path, header, body=b"\0" * 8, size=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if size is None else size) + text + body)
    return path


def test_a_good_file_is_read(tmp_path):
    path = write(tmp_path / "w.safetensors", {"__metadata__": {"format": "pt"}, "x": GOOD})
    assert torch.equal(read_weights(path)["x"], torch.zeros(2))


@pytest.mark.parametrize(
    "header",
    [
        {"x": GOOD | {"shape": [2**40]}},
        {"x": GOOD | {"shape": [-2]}},
        {"x": GOOD | {"shape": [10**30]}},
        {"x": GOOD | {"shape": "2"}},
        {"x": GOOD | {"shape": [1] * 100}},
        {"x": GOOD | {"dtype": 5}},
        {"x": GOOD | {"dtype": "F1024"}},
        {"x": GOOD | {"data_offsets": [8, 0]}},
        {"x": GOOD | {"data_offsets": [0]}},
        {"x": 5},
        {"x" * 2000: GOOD},
        [],
        b"",
        b"{",
        b"[" * 100_000,
        b"\xff" * 100,
        {f"t{number}": GOOD | {"shape": [0], "data_offsets": [0, 0]} for number in range(20_001)},
    ],
)
def test_a_header_is_checked_before_the_file_is_read(tmp_path, header):
    path = write(tmp_path / "w.safetensors", header)
    with pytest.raises(UsageError, match=r"w\.safetensors is damaged") as caught:
        read_weights(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_the_size_of_a_header_is_not_believed(tmp_path):
    with pytest.raises(UsageError, match="its header claims 9,223,372,036,854,775,808 bytes"):
        read_weights(write(tmp_path / "w.safetensors", {"x": GOOD}, size=2**63))


@pytest.mark.parametrize(
    "index",
    [
        5,
        {},
        {"weight_map": []},
        {"weight_map": {"x": 5}},
        {"weight_map": {"x": "/etc/passwd"}},
        {"weight_map": {"x": ""}},
    ],
)
def test_an_index_names_files_of_its_folder_alone(tmp_path, index):
    save_file({"x": torch.zeros(2)}, tmp_path / "outside.safetensors")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / INDEX).write_text(json.dumps(index))
    with pytest.raises(UsageError, match=r"is damaged"):
        read_folder(folder)
    (folder / INDEX).write_text(json.dumps({"weight_map": {"x": "../outside.safetensors"}}))
    with pytest.raises(UsageError, match=r"folder/outside\.safetensors is damaged .*No such file"):
        read_folder(folder)
