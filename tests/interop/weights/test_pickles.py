"""Checkpoints of PyTorch that claim more than they hold, or hold other than plain tensors, are refused."""

import io
import pickle
import zipfile

import pytest
import torch

from openjepa.encoder.baselines import seeded
from openjepa.errors import UsageError
from openjepa.interop.load import open_source
from openjepa.interop.weights import pickles
from openjepa.interop.weights.files import tensors_of
from openjepa.models.resize import weights_of


def plain_state():
    network = seeded(0, image_size=(16, 16), patch_size=8, embed_dim=16, depth=1, num_heads=2)
    return {**weights_of(network), "pos_embed": network.pos_embed[None]}


def saved(path, content, legacy=False):
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return str(path)


@pytest.mark.parametrize("legacy", [False, True])
def test_both_formats_are_read(tmp_path, legacy):
    source = open_source(saved(tmp_path / "w.pth", plain_state(), legacy), num_heads=2)
    assert torch.equal(source.target.norm.weight, plain_state()["norm.weight"])
    parameters = {name: torch.nn.Parameter(value) for name, value in plain_state().items()}
    assert open_source(saved(tmp_path / "p.pth", {"state_dict": parameters}, legacy), num_heads=2).target


NAME = "blocks.0.mlp.fc1.weight"
ODD = {
    "sparse": lambda value: value.to_sparse(),
    "compressed rows": lambda value: value.to_sparse_csr(),
    "without values": lambda value: torch.empty(10**6, 10**6, device="meta"),
    "repeated": lambda value: torch.zeros(1).expand(10**6, 10**5),
    "quantized": lambda value: torch.quantize_per_tensor(value, 0.1, 0, torch.qint8),
    "integers": lambda value: value.int(),
    "float8": lambda value: value.to(torch.float8_e5m2),
    "complex": lambda value: value.to(torch.complex64),
    "too large for float32": lambda value: value.double() * 1e300,
    "no numbers": lambda value: torch.zeros(0, 16),
    "text": lambda value: "x" * 1000,
    "nothing": lambda value: None,
}


@pytest.mark.filterwarnings("ignore")  # of PyTorch's, about the formats that are refused here
@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("kind", ODD)
def test_what_is_no_plain_tensor_is_refused(tmp_path, kind, legacy):
    state = plain_state()
    state[NAME] = ODD[kind](state[NAME])
    try:
        path = saved(tmp_path / "w.pth", state, legacy)
    except (RuntimeError, NotImplementedError):
        pytest.skip("PyTorch cannot store this")
    with pytest.raises(UsageError) as caught:
        open_source(path, num_heads=2)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600


def test_many_tensors_in_the_memory_of_one_are_refused():
    one = torch.zeros(1000)
    with pytest.raises(UsageError, match="not stored plainly"):
        tensors_of({f"blocks.{number}.norm1.weight": one for number in range(20)}, "x")


@pytest.mark.parametrize(
    "state",
    [
        {f"blocks.{number}.x": torch.zeros(1) for number in range(20_001)},
        {"x" * 2000: torch.zeros(1)},
        {5: torch.zeros(1)},
        {},
        [torch.zeros(1)],
    ],
)
def test_names_are_bounded(state):
    with pytest.raises(UsageError, match=r"cannot be used|not a set of named tensors"):
        tensors_of(state, "x")


@pytest.mark.parametrize("name", ["blocks.3000000.norm1.weight", "blocks.99999.norm1.weight", f"blocks.{'9' * 5000}.x"])
def test_a_depth_in_a_name_builds_nothing(tmp_path, name):
    with pytest.raises(UsageError, match=r"extra: blocks\.3000000|depth is 100000|longer names"):
        open_source(saved(tmp_path / "w.pth", plain_state() | {name: torch.zeros(1)}), num_heads=2)


def repacked(path, pickled=None, compression=zipfile.ZIP_STORED, more=0):
    """The archive of a checkpoint with another pickle, compressed, or with more records."""
    packed = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(packed, "w", compression) as new:
        for record in old.namelist():
            is_pickle = record.endswith("data.pkl")
            new.writestr(record, pickled if pickled and is_pickle else old.read(record))
        for number in range(more):
            new.writestr(f"w/data/x{number}", b"")
    path.write_bytes(packed.getvalue())


BOMB = b"\x80\x02]" + b"}a" * 1_100_000 + b"."  # a list of a million dictionaries


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"compression": zipfile.ZIP_DEFLATED}, "its records are compressed"),
        ({"pickled": BOMB}, "bytes that are not tensors"),
        ({"more": 50_001}, "records, the most is|bytes that are not tensors"),
    ],
)
def test_an_archive_is_checked_before_it_is_read(tmp_path, changes, message):
    path = tmp_path / "w.pth"
    saved(path, plain_state())
    repacked(path, **changes)
    with pytest.raises(UsageError, match=message):
        open_source(str(path), num_heads=2)


@pytest.mark.parametrize("content", [BOMB, b"\x80\x02" + b"(l" * 1_000_000 + b".", b"\x80\x03B\xff\xff\xff\x7f", b"x"])
def test_a_bare_pickle_is_read_up_to_a_limit(tmp_path, content):
    path = tmp_path / "w.pth"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"w\.pth is (damaged|refused)"):
        open_source(str(path), num_heads=2)


def test_memory_that_no_bytes_of_the_file_fill_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "w.pth"
    path.write_bytes(pickle.dumps(1))
    monkeypatch.setattr(pickles, "_load", lambda path: {"x": torch.zeros(1000)})
    with pytest.raises(UsageError, match="its tensors are larger than the file"):
        pickles.read_pickle(path)
