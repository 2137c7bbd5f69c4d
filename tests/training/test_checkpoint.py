"""A checkpoint is whole or refused, and the newest sound one is found."""

import errno
import json
import os
import re

import pytest
import torch

from openjepa.files import writing as files
from openjepa.training import checkpoint
from openjepa.training.checkpoint import (
    DamagedCheckpoint,
    checkpoint_path,
    checkpoint_steps,
    load_checkpoint,
    load_newest,
    retain,
    save_checkpoint,
)

REST = {"best": {"rank": (4.5, 10)}, "skipped": {}, "untrained": {"rank": 2.0}}


def tensors(step):
    return {"model.a": torch.full((3, 4), float(step)), "optimizer.0.step": torch.tensor(float(step))}


@pytest.fixture
def folder(tmp_path):
    for step in (10, 20, 30):
        save_checkpoint(tmp_path, step, tensors(step), REST)
    return tmp_path


def test_what_is_saved_comes_back(folder):
    loaded, state = load_checkpoint(checkpoint_path(folder, 20))
    assert state.step == 20
    assert loaded.keys() == tensors(20).keys()
    assert all(torch.equal(loaded[name], value) for name, value in tensors(20).items())


def harm(path, how):
    data = path / checkpoint.TENSORS
    if how == "cut":
        data.write_bytes(data.read_bytes()[:-1])
    elif how == "flipped":
        content = bytearray(data.read_bytes())
        content[-3] ^= 1
        data.write_bytes(content)
    elif how == "empty":
        data.write_bytes(b"")
    elif how == "no tensors":
        data.unlink()
    elif how == "no state":
        (path / checkpoint.STATE).unlink()
    else:
        (path / checkpoint.STATE).write_text(json.dumps({"step": 30}))


@pytest.mark.parametrize("how", ["cut", "flipped", "empty", "no tensors", "no state", "foreign state"])
def test_damage_is_seen_and_the_one_before_is_taken(folder, how):
    newest = checkpoint_path(folder, 30)
    harm(newest, how)
    with pytest.raises(DamagedCheckpoint, match=str(newest)):
        load_checkpoint(newest)
    _, state, complaints = load_newest(folder)
    assert state.step == 20
    assert len(complaints) == 1 and str(newest) in complaints[0]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes and devices")
@pytest.mark.parametrize(
    "make", [lambda path: os.mkfifo(path), lambda path: path.symlink_to("/dev/zero")], ids=["pipe", "device"]
)
@pytest.mark.parametrize("name", ["state.safetensors", "state.json"])
def test_what_is_no_file_is_neither_waited_for_nor_read_without_end(folder, name, make):
    newest = checkpoint_path(folder, 30)
    (newest / name).unlink()
    make(newest / name)
    assert load_newest(folder)[1].step == 20


def test_all_damaged_is_an_error(folder):
    for step in (10, 20, 30):
        harm(checkpoint_path(folder, step), "flipped")
    with pytest.raises(DamagedCheckpoint):
        load_newest(folder)


def test_a_crash_while_writing_leaves_the_rest_as_it_was(folder, monkeypatch):
    """Whatever moment the process dies at, only the folder that is being written is unfinished."""
    for module, name in ((checkpoint, "save_file"), (checkpoint, "file_hash"), (files, "flush")):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                save_checkpoint(folder, 40, tensors(40), REST)
        assert checkpoint_steps(folder) == [10, 20, 30]
        assert load_newest(folder)[1].step == 30
    save_checkpoint(folder, 40, tensors(40), REST)
    assert load_newest(folder)[1].step == 40


def test_a_full_disk_leaves_no_trace(folder, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    before = sorted(path.name for path in folder.iterdir())
    monkeypatch.setattr(files, "flush", full)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(folder, 40, tensors(40), REST)
    assert sorted(path.name for path in folder.iterdir()) == before


def test_foreign_names_are_left_alone(folder):
    for name in ("step-00000500-copy", "step-7", "step-", "notes"):
        (folder / name).mkdir()
    assert checkpoint_steps(folder) == [10, 20, 30]
    retain(folder, protected=set())
    assert (folder / "step-00000500-copy").is_dir() and checkpoint_steps(folder) == [20, 30]


def test_retention(folder):
    save_checkpoint(folder, 40, tensors(40), REST)
    retain(folder, protected={10})
    assert checkpoint_steps(folder) == [10, 30, 40]
    retain(folder, protected=set(), every=10)
    assert checkpoint_steps(folder) == [10, 30, 40]
    retain(folder, protected=set())
    assert checkpoint_steps(folder) == [30, 40]


def test_a_run_that_fell_back_keeps_what_it_writes(folder):
    """Of three checkpoints the last two are damaged: they must not count as the newest two."""
    for step in (20, 30):
        harm(checkpoint_path(folder, step), "flipped")
    assert load_newest(folder)[1].step == 10
    save_checkpoint(folder, 15, tensors(15), REST)
    retain(folder, protected=set(), done=15)
    assert checkpoint_steps(folder) == [10, 15]
    assert load_newest(folder)[1].step == 15


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"best": {"/../../../x": [1e9, 20]}}, "best./../../../x"),
        ({"best": {"rank": [9.0, 10]}}, "its state is not the one that was written"),
        ({"best": {"rank": ["9", 10]}}, "best.rank"),
        ({"best": {"rank": [float("nan"), 10]}}, "best.rank"),
        ({"best": {"rank": [9.0, -1]}}, "best.rank"),
        ({"best": 5}, "best is 5"),
        ({"skipped": ["x"]}, "skipped is a list"),
        ({"untrained": {"rank": None}}, "untrained.rank is null"),
        ({"untrained": {}}, "its state is not the one that was written"),
        ({"step": 20}, "its state is of step 20"),
        ({"step": 10**100}, "step is 1000"),
        ({"sha256": 5}, "sha256 is 5"),
    ],
)
def test_every_part_of_the_state_is_checked(folder, change, said):
    path = checkpoint_path(folder, 30) / checkpoint.STATE
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DamagedCheckpoint, match=re.escape(said)) as caught:
        load_checkpoint(path.parent)
    assert "\n" not in str(caught.value)
    assert load_newest(folder)[1].step == 20


def test_a_checkpoint_of_the_version_before_is_read(folder):
    path = checkpoint_path(folder, 30) / checkpoint.STATE
    state = json.loads(path.read_text())
    for name in ("state_sha256", "settings"):
        state.pop(name, None)
    path.write_text(json.dumps(state))
    assert load_checkpoint(path.parent)[1].best == {"rank": (4.5, 10)}
