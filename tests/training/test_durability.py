"""kill -9 at every moment of a checkpoint, a full disk, a read-only folder: the run goes on and ends the same."""

import multiprocessing
import os
import resource
import shutil
import signal
from pathlib import Path

import pytest
import torch
from support.photos import draw_photos
from support.processes import small_run

from openjepa.errors import UsageError
from openjepa.files import writing as files
from openjepa.training import checkpoint
from openjepa.training.checkpoint import checkpoint_steps, load_newest
from openjepa.training.loop import TrainingRun

FORK = multiprocessing.get_context("fork")
MOMENTS = ((checkpoint, "save_file"), (checkpoint, "file_hash"), (files, "flush"), (shutil, "rmtree"))
MOMENTS += ((Path, "rename"), (Path, "write_text"), (Path, "mkdir"), (Path, "replace"), (Path, "chmod"))


def open_run(photos, out) -> TrainingRun:
    out.mkdir(exist_ok=True)
    run = small_run(photos, out, steps=5, checkpoint_minutes=0.0)
    if checkpoint_steps(run.checkpoints):
        run.resume()
    return run


def in_child(call, *args) -> int:
    """The exit code of a process that makes the call: minus the signal that killed it."""
    child = FORK.Process(target=call, args=args)
    child.start()
    child.join(60)
    return child.exitcode


def train_until(photos, out, moment):
    """Train, and die by SIGKILL just before or after the call number `moment` of those that write."""
    calls = iter(range(10**6))

    def deadly(call):
        def counted(*args, **kwargs):
            number = next(calls)
            if number == moment and moment % 2:
                os.kill(os.getpid(), signal.SIGKILL)
            result = call(*args, **kwargs)
            if number == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return counted

    for owner, name in MOMENTS:
        setattr(owner, name, deadly(getattr(owner, name)))
    open_run(photos, out).train(lambda record: None)


def assert_same_end(photos, out, expected):
    open_run(photos, out).train(lambda record: None)
    tensors = load_newest(out / "checkpoints")[0]
    assert tensors.keys() == expected.keys()
    assert all(torch.equal(tensors[name], value) for name, value in expected.items())


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    photos, out = draw_photos(tmp_path_factory.mktemp("images") / "photos"), tmp_path_factory.mktemp("run")
    open_run(photos, out).train(lambda record: None)
    return photos, load_newest(out / "checkpoints")[0]


def test_killed_at_any_moment_of_a_write_it_goes_on(undisturbed, tmp_path):
    """One run dies again and again, each time a little later in what it writes after its restart."""
    photos, expected = undisturbed
    deaths = 0
    for moment in range(2, 18):
        exitcode = in_child(train_until, photos, tmp_path / "run", moment)
        assert exitcode in (0, -signal.SIGKILL)
        deaths += exitcode != 0
        if exitcode == 0:  # it came to its end in spite of everything
            assert_same_end(photos, tmp_path / "run", expected)
            shutil.rmtree(tmp_path / "run")
    assert deaths >= 12
    assert_same_end(photos, tmp_path / "run", expected)


def fill_the_disk(photos, out):
    run = open_run(photos, out)
    save = run.save

    def save_on_a_full_disk():
        if run.done == 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        save()

    run.save = save_on_a_full_disk
    with pytest.raises(UsageError, match=r"cannot write .*step-00000003.*the last checkpoint is intact: make room"):
        run.train(lambda record: None)


def test_a_full_disk_is_told_and_nothing_is_lost(undisturbed, tmp_path):
    photos, expected = undisturbed
    assert in_child(fill_the_disk, photos, tmp_path / "run") == 0
    assert checkpoint_steps(tmp_path / "run" / "checkpoints")[-1] == 2
    assert not list((tmp_path / "run" / "checkpoints").glob(".writing*"))
    assert_same_end(photos, tmp_path / "run", expected)


@pytest.mark.parametrize(("at", "kept"), [(4, "the last checkpoint is intact"), (0, "there is no checkpoint yet")])
def test_a_read_only_folder_is_told(undisturbed, tmp_path, monkeypatch, at, kept):
    photos, expected = undisturbed
    run = open_run(photos, tmp_path / "run")

    def refuse(self, *_args, **_kwargs):
        raise OSError(30, "Read-only file system", str(self))

    def on_record(record):
        if record["step"] == at:
            monkeypatch.setattr(Path, "mkdir", refuse)

    with pytest.raises(UsageError, match=f"Read-only file system.*{kept}: make room, then use --resume"):
        run.train(on_record)
    monkeypatch.undo()
    assert checkpoint_steps(tmp_path / "run" / "checkpoints")[-1:] == [at - 1] * bool(at)
    assert_same_end(photos, tmp_path / "run", expected)
